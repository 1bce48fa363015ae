"""Cancel, pause and resume; and failures that wait for a person."""

import pytest

from galaxy.core.attempt import LeaseEnd
from galaxy.core.edit import AddLine, AddStar, Skip, UpdateStar
from galaxy.core.edit import Retry as TryAgain
from galaxy.core.errors import Conflict
from galaxy.core.events import (
    ConstellationEnded,
    ConstellationPaused,
    LeaseEnded,
    StarLeased,
    StopBegun,
    StopUnconfirmed,
)
from galaxy.core.star import Disconnect, OnFailure, When
from galaxy.core.states import ConstellationState
from protocol.vocabulary import Failure, Outcome

from .helpers import (
    AGAIN,
    AT_ONCE,
    NO_RETRY,
    OOPS,
    STEADY,
    Log,
    accept,
    cancel,
    connect,
    device,
    disconnect,
    done,
    edit,
    fail,
    line,
    pair,
    pause,
    reloaded,
    report,
    resume,
    star,
    stopped,
    submit,
    told,
)

# Cancel.


def test_cancel_ends_what_waits_at_once_and_stops_what_runs_while_others_go_on():
    log = Log()
    log.feed(*device(slots=2), submit(star("a"), star("b"), star("z"), line("a>z")), submit(star("o"), c="other"))
    assert log.states() == {"a": "leased", "b": "leased", "z": "waiting"}

    orders = log.feed(cancel(2.0))

    assert [(order.attempt.star, order.reason) for order in orders] == [("a", "enough"), ("b", "enough")]
    assert log.states() == {"a": "leased", "b": "leased", "z": "cancelled"}
    assert log.core.constellations["c"].state is ConstellationState.CANCELLING
    assert log.why("a") == "stopping: enough; laptop has not answered yet"
    assert told(log.feed(stopped("c/a#1", 3.0))) == ["dispatch other/o#1 to laptop"]
    log.feed(stopped("c/b#1", 4.0))
    assert [ended.state for ended in log.of(ConstellationEnded)] == [ConstellationState.CANCELLED]
    assert log.course("a").cause == log.course("z").cause == "enough"
    assert log.states("other") == {"o": "leased"}


def test_cancel_ends_queued_work_and_frees_nothing_that_it_did_not_hold():
    log = Log()
    log.feed(pair(), cancel(1.0))

    assert log.states() == {"a": "cancelled", "b": "cancelled"}
    assert log.core.constellations == {}
    assert log.feed(*device(at=2.0)) == []


def test_what_succeeds_while_it_is_being_stopped_has_succeeded():
    log = Log()
    log.feed(*device(), pair(), cancel(1.0), done("c/a#1", 2.0))

    assert log.states() == {"a": "succeeded", "b": "cancelled"}
    assert log.of(ConstellationEnded)[0].state is ConstellationState.CANCELLED


def test_what_fails_while_it_is_being_stopped_is_not_tried_again():
    log = Log()
    log.feed(*device(), submit(star("a", retry=AT_ONCE)), cancel(1.0), fail("c/a#1", 2.0, failure=AGAIN))

    assert (log.states(), log.course("a").failure) == ({"a": "cancelled"}, AGAIN)


def test_nothing_is_shown_as_cancelled_while_a_device_may_still_act():
    log = Log()
    log.feed(*device(), submit(star("a")), accept("c/a#1"), cancel(2.0))
    log.wait(31.9)
    assert log.of(StopUnconfirmed) == []
    log.wait(1_000.0)

    (told,) = log.of(StopUnconfirmed)
    assert told.at == 32.0
    assert (log.states(), log.core.load()) == ({"a": "running"}, {"laptop": (1, 1)})
    assert log.core.constellations["c"].state is ConstellationState.CANCELLING
    assert log.why("a") == "stopping: enough; laptop has not confirmed it and may still act"

    log.feed(StopBegun(at=1_001.0, constellation="c", star="a", attempt=1, device="laptop"))
    assert log.why("a") == "stopping: enough; laptop is stopping it"
    log.feed(report("c/a#1", Outcome.CANCELLED, at=1_002.0, failure=Failure("killed", "it was killed")))
    assert log.states() == {"a": "cancelled"}
    assert log.course("a").attempts[0].failure.code == "killed", "how it was stopped is kept"


def test_a_device_that_is_gone_has_stopped_by_its_own_rule_and_the_cancel_is_over():
    log = Log()
    gone = Disconnect(lost_after_s=500.0, stop_after_s=50.0)
    log.feed(*device(), submit(star("a", disconnect=gone)), accept("c/a#1"), cancel(2.0), disconnect(at=3.0))
    log.wait(53.9)
    assert log.states() == {"a": "running"}
    log.wait(3.0 + 50.0 * 1.02 + 1.0)

    assert [ended.cause for ended in log.of(LeaseEnded)] == [LeaseEnd.LOST]
    assert log.states() == {"a": "cancelled"}
    assert log.core.load() == {}


def test_a_stop_is_said_again_to_a_device_that_comes_back():
    log = Log()
    log.feed(*device(), submit(star("a")), accept("c/a#1"), disconnect(at=2.0), cancel(3.0))

    assert told(log.feed(connect(at=4.0, resumed=True))) == ["revoke c/a#1 at laptop"]
    assert told(log.feed(connect(at=5.0, held=("c/a#1",), boot="boot-2"))) == ["stop c/a#1 at laptop: enough"]
    log.feed(disconnect(at=6.0), connect(at=7.0, boot="boot-3"))
    assert log.states() == {"a": "cancelled"}, "it is not held any more"


def test_a_stop_that_is_under_way_survives_a_reload_with_its_deadline():
    log = Log()
    log.feed(*device(), submit(star("a")), accept("c/a#1"), cancel(2.0))
    after = reloaded(log)
    after.feed(disconnect(at=3.0))

    after.wait(100.0)
    assert after.states() == {"a": "cancelled"}


def test_what_is_being_cancelled_takes_no_more_orders():
    log = Log()
    log.feed(*device(), submit(star("a")), cancel(1.0))

    for event in (cancel(2.0), pause(2.0), resume(2.0), edit(AddStar(star("z")), at=2.0)):
        with pytest.raises(Conflict, match="c is being cancelled"):
            log.core.check(event)


def test_cancel_of_a_paused_constellation_cancels_it():
    log = Log()
    log.feed(pair(), pause(1.0), cancel(2.0))

    assert log.of(ConstellationEnded)[0].state is ConstellationState.CANCELLED


def test_a_condition_that_waits_to_be_judged_is_not_asked_after_a_cancel():
    log = Log()
    log.feed(*device(), submit(star("a"), star("b"), line("a>b", condition="true")))
    for event in (done("c/a#1", 1.0), cancel(1.0)):
        log.core.check(event)
        log.events.append(event)
        log.core.apply(event)
    log.wait(2.0)

    assert log.states() == {"a": "succeeded", "b": "cancelled"}


# Pause.


def test_a_paused_constellation_starts_nothing_and_finishes_what_runs():
    log = Log()
    log.feed(*device(slots=2), pair(), pause(1.0))
    assert log.core.constellations["c"].state is ConstellationState.PAUSED
    assert log.feed(done("c/a#1", 2.0)) == []
    assert log.why("b") == "the constellation is paused: lunch"

    assert told(log.feed(resume(3.0))) == ["dispatch c/b#1 to laptop"]
    assert log.core.constellations["c"].state is ConstellationState.RUNNING


def test_pausing_twice_or_resuming_what_runs_is_refused():
    log = Log()
    log.feed(pair())
    with pytest.raises(Conflict, match="is not paused"):
        log.core.check(resume(1.0))
    log.feed(ConstellationPaused(at=1.0, constellation="c", reason=""))
    with pytest.raises(Conflict, match="is paused already"):
        log.core.check(pause(2.0))
    assert log.core.constellations["c"].paused == "paused"


def test_others_are_served_while_one_is_paused():
    log = Log()
    log.feed(pair(priority=9), pause(1.0), submit(star("o"), c="other", at=2.0))

    assert told(log.feed(*device(at=3.0))) == ["dispatch other/o#1 to laptop"]


def test_a_paused_constellation_whose_work_is_done_ends():
    log = Log()
    log.feed(*device(), submit(star("a")), pause(1.0), done("c/a#1", 2.0))

    assert log.of(ConstellationEnded)[0].state is ConstellationState.SUCCEEDED


# A failure that waits for a person.


def held_failure(*lines, **more) -> Log:
    log = Log()
    more = {"on_failure": OnFailure.PAUSE, "retry": NO_RETRY, **more}
    log.feed(*device(), submit(star("a", **more), star("b"), star("o"), *(lines or [line("a>b")])))
    log.feed(fail("c/a#1", failure=OOPS))
    return log


def test_a_failure_can_pause_the_constellation_and_wait_for_a_person():
    log = held_failure()

    assert log.states() == {"a": "ready", "b": "waiting", "o": "ready"}
    assert log.core.constellations["c"].paused == "waits for a person: a failed: it broke"
    assert log.why("a") == "it failed and waits for a person to retry or skip it: it broke"
    assert log.course("a").failure == OOPS
    log.wait(1e6)
    assert log.states()["a"] == "ready", "a person is given all the time"


def test_a_person_who_tries_again_gets_as_many_attempts_as_the_policy_says():
    log = Log()
    log.feed(*device(), submit(star("a", on_failure=OnFailure.PAUSE, retry=AT_ONCE)), fail("c/a#1", failure=OOPS))
    assert told(log.feed(edit(TryAgain("a"), at=2.0))) == ["dispatch c/a#2 to laptop"]
    for n in (2, 3, 4):
        assert not log.core.constellations["c"].paused
        log.feed(fail(f"c/a#{n}", 1.0 + n, failure=AGAIN))

    assert log.core.constellations["c"].paused == "waits for a person: a failed: try again"
    assert len(log.of(StarLeased)) == 4


def test_a_person_who_skips_it_lets_the_rest_go_on():
    log = held_failure(line("a>b", When.ALWAYS))

    assert told(log.feed(edit(Skip("a", "not needed"), at=2.0))) == ["dispatch c/b#1 to laptop"]
    assert log.states() == {"a": "skipped", "b": "leased", "o": "ready"}
    assert log.course("a").cause == "not needed"


def test_going_on_without_an_answer_means_that_the_failure_stands():
    log = held_failure(line("a>b", When.FAILURE))
    log.feed(resume(2.0))

    assert log.states() == {"a": "failed", "b": "leased", "o": "ready"}
    assert log.course("a").failure == OOPS


def test_one_answer_is_not_enough_for_two_failures():
    log = Log()
    more = {"on_failure": OnFailure.PAUSE, "retry": NO_RETRY}
    log.feed(*device(slots=2), submit(star("a", **more), star("b", **more)))
    log.feed(fail("c/a#1"), fail("c/b#1"))
    assert log.feed(edit(TryAgain("a"), at=2.0)) == []

    assert told(log.feed(edit(Skip("b"), base=2, at=3.0))) == ["dispatch c/a#2 to laptop"]


def test_a_pause_that_a_person_asked_for_is_not_ended_by_answering_a_failure():
    log = Log()
    log.feed(*device(), submit(star("a", on_failure=OnFailure.PAUSE)), pause(0.5), fail("c/a#1", failure=OOPS))
    log.feed(edit(TryAgain("a"), at=2.0))

    assert log.core.constellations["c"].paused == "lunch"
    assert told(log.feed(resume(3.0))) == ["dispatch c/a#2 to laptop"]


def test_an_edit_that_gives_a_failed_star_something_to_wait_for_is_an_answer():
    """Otherwise it would be ready again one day, with nobody left who knows that it waits for him."""
    log = held_failure(line("a>b"), retry=STEADY)
    log.feed(edit(AddStar(star("fix", tool="none")), AddLine(line("fix>a")), at=2.0), *device("smith", tools=("none",)))
    assert not log.core.constellations["c"].paused
    assert log.states()["a"] == "waiting"
    assert log.why("a") == "it waits for fix"

    assert "dispatch c/a#2 to laptop" in told(log.feed(done("c/o#1", 3.0), done("c/fix#1", 4.0, by="smith")))


def test_an_edit_that_answers_nothing_leaves_the_failure_where_it_is():
    log = held_failure()
    log.feed(edit(AddStar(star("z")), UpdateStar(star("o", title="other")), at=2.0))

    assert log.core.constellations["c"].paused
    after = reloaded(log)
    for each in (log, after):
        each.feed(edit(Skip("a"), base=2, at=3.0))
        assert not each.core.constellations["c"].paused


def test_cancel_ends_a_failure_that_waits_for_a_person():
    log = held_failure()
    log.feed(cancel(2.0))

    assert log.states() == {"a": "cancelled", "b": "cancelled", "o": "cancelled"}
