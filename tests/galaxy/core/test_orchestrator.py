"""The orchestrator, one behaviour a test: what is dispatched, what follows from an end, and what is refused."""

from itertools import pairwise

import msgspec
import pytest
from msgspec import Raw

from galaxy.core.attempt import AttemptId, Purpose
from galaxy.core.errors import Conflict, InvalidEdit, StaleAttempt, UnknownId
from galaxy.core.events import ConstellationEnded, FailedStar, StarLeased, StarProgressed
from galaxy.core.orders import Dispatch
from galaxy.core.star import Disconnect, Needs, Timeouts, When
from galaxy.core.states import TERMINAL, ConstellationState
from protocol.vocabulary import Effect, Outcome

from .helpers import (
    AT_ONCE,
    OOPS,
    Log,
    accept,
    cancel,
    connect,
    device,
    disconnect,
    done,
    encoded,
    fail,
    line,
    pair,
    profile,
    reject,
    reloaded,
    replayed,
    report,
    star,
    stream,
    submit,
    told,
)


def test_a_ready_star_is_dispatched_to_a_device_with_its_tool():
    orders = Log().feed(*device(), pair(timeouts=Timeouts(run_s=60.0, idle_s=5.0), disconnect=Disconnect(90.0, 80.0)))

    assert orders == [
        Dispatch("laptop", AttemptId("c", "a", 1), "shell", Raw(b"{}"), Effect.IDEMPOTENT, 60.0, 5.0, stop_after_s=80.0)
    ]


def test_a_star_that_no_device_can_do_waits_without_an_order():
    log = Log()

    assert log.feed(*device(tools=("files",)), submit(star("a"))) == []
    assert log.why("a") == "no device is able: laptop: it has no tool shell"


def test_a_device_that_comes_later_gets_what_waits():
    log = Log()
    log.feed(submit(star("a")))
    assert log.why("a") == "no device has joined"

    assert told(log.feed(*device(at=5.0))) == ["dispatch c/a#1 to laptop"]
    (leased,) = log.of(StarLeased)
    assert leased.waited_s == 5.0


def test_success_makes_the_next_star_ready_and_the_last_one_ends_the_constellation():
    log = Log()
    log.feed(*device(), pair())

    assert told(log.feed(accept("c/a#1"), done("c/a#1", 2.0, result={"n": 1}))) == ["dispatch c/b#1 to laptop"]
    assert log.feed(done("c/b#1", 3.0)) == []
    assert log.of(ConstellationEnded) == [
        ConstellationEnded(
            at=3.0, constellation="c", state=ConstellationState.SUCCEEDED, failures=(), counts={"succeeded": 2}
        )
    ]
    assert log.core.constellations == {}
    assert bytes(log.course("a").result) == b'{"n":1}'


def test_a_failed_star_skips_the_star_that_needed_its_success_and_its_cause_is_kept():
    log = Log()
    log.feed(*device(), pair(), fail("c/a#1"))

    assert log.states() == {"a": "failed", "b": "skipped"}
    assert log.course("a").failure == log.course("a").attempts[0].failure == OOPS
    assert log.course("b").cause == "it needed the success of a, which failed"
    (ended,) = log.of(ConstellationEnded)
    assert (ended.state, ended.failures) == (ConstellationState.FAILED, (FailedStar("a", OOPS),))


@pytest.mark.parametrize("way", ["at once", "after a reload", "after a replay"])
def test_a_dependant_with_success_never_runs_after_a_failure(way):
    log = Log()
    rest = [star(name) for name in "bcde"]
    log.feed(
        *device(slots=2),
        submit(star("a"), *rest, star("other"), line("a>b"), line("b>c"), line("c>d", When.FAILURE), line("d>e")),
    )
    if way == "after a reload":
        log = reloaded(log)
    if way == "after a replay":
        events, log = log.events, Log()
        for event in events:
            log.core.apply(event)
        log.events = events
    log.feed(fail("c/a#1", 2.0))
    if way == "after a reload":
        log = reloaded(log)
    log.feed(*device("tower", at=3.0, slots=9))
    log.wait(100.0)

    assert [leased.star for leased in log.of(StarLeased)] == ["a", "other"]
    assert log.states() == {"a": "failed", **dict.fromkeys("bcde", "skipped"), "other": "leased"}


def test_a_skip_runs_down_the_whole_chain_in_one_event():
    log = Log()
    names = [f"s{n}" for n in range(3_000)]
    log.feed(*device(), submit(*map(star, names), *(line(f"{a}>{b}") for a, b in pairwise(names))))
    log.feed(fail("c/s0#1"))

    assert log.states() == {"s0": "failed", **dict.fromkeys(names[1:], "skipped")}


def test_a_skip_lets_an_always_line_through_and_stops_at_a_failure_line():
    log = Log()
    stars = [star(name) for name in "abcdef"]
    lines = [line("a>b"), line("b>c", When.ALWAYS), line("b>d", When.FAILURE), line("d>e", When.ALWAYS), line("e>f")]
    log.feed(*device(), submit(*stars, *lines), fail("c/a#1"))

    assert log.states() == {
        "a": "failed",
        "b": "skipped",
        "c": "ready",
        "d": "skipped",
        "e": "leased",  # with f behind it
        "f": "waiting",
    }


@pytest.mark.parametrize(
    ("when", "outcome", "state"),
    [
        (When.SUCCESS, Outcome.SUCCEEDED, "leased"),
        (When.SUCCESS, Outcome.FAILED, "skipped"),
        (When.FAILURE, Outcome.SUCCEEDED, "skipped"),
        (When.FAILURE, Outcome.FAILED, "leased"),
        (When.ALWAYS, Outcome.SUCCEEDED, "leased"),
        (When.ALWAYS, Outcome.FAILED, "leased"),
        (When.SUCCESS, Outcome.CANCELLED, "skipped"),
        (When.FAILURE, Outcome.CANCELLED, "leased"),  # a device that stops by itself has failed
    ],
)
def test_each_kind_of_line_is_crossed_by_its_own_end(when, outcome, state):
    log = Log()
    log.feed(*device(), pair(when), report("c/a#1", outcome))

    assert log.states()["b"] == state


def test_a_star_with_several_lines_waits_for_all_of_them():
    log = Log()
    stars = [star(name) for name in "abz"]
    log.feed(*device(slots=3), submit(*stars, line("a>z"), line("b>z", When.ALWAYS)), done("c/a#1"))
    assert log.states()["z"] == "waiting"
    assert log.why("z") == "it waits for b"

    assert told(log.feed(fail("c/b#1", 2.0))) == ["dispatch c/z#1 to laptop"]


# The truth about the end.


def test_a_failure_that_another_star_made_up_for_does_not_fail_the_constellation():
    log = Log()
    log.feed(*device(), pair(When.FAILURE), fail("c/a#1"), done("c/b#1", 2.0))

    (ended,) = log.of(ConstellationEnded)
    assert (ended.state, ended.failures) == (ConstellationState.SUCCEEDED, (FailedStar("a", OOPS, "b"),))


def test_a_failure_whose_handler_failed_too_fails_the_constellation():
    log = Log()
    log.feed(*device(), pair(When.FAILURE), fail("c/a#1"), fail("c/b#1", 2.0))

    (ended,) = log.of(ConstellationEnded)
    assert (ended.state, [f.handled_by for f in ended.failures]) == (ConstellationState.FAILED, ["", ""])


def test_a_failure_that_was_merely_followed_is_not_handled():
    log = Log()
    log.feed(*device(), pair(When.ALWAYS), fail("c/a#1"), done("c/b#1", 2.0))

    assert log.of(ConstellationEnded)[0].state is ConstellationState.FAILED


# Who may speak of an attempt.


def test_a_report_from_another_device_or_an_older_attempt_is_refused_and_changes_nothing():
    log = Log()
    log.feed(*device(), *device("tower"), submit(star("a", retry=AT_ONCE, disconnect=Disconnect(lost_after_s=10.0))))
    log.feed(disconnect("laptop", 1.0))
    log.wait(13.0)
    before = encoded(log.core.constellations["c"])

    for event, why in (
        (done("c/a#1", 13.0, by="laptop"), "c/a#1 is over"),
        (done("c/a#1", 13.0, by="tower"), "c/a#1 is over"),
        (done("c/a#2", 13.0, by="laptop"), "c/a#2 is held by tower, not by laptop"),
        (accept("c/a#1", 13.0), "c/a#1 is over"),
        (reject("c/a#1", 13.0), "c/a#1 is over"),
        (reject("c/a#2", 13.0), "c/a#2 is held by tower, not by laptop"),
        (done("c/a#3", 13.0), "c/a#3 is over"),
        (done("c/b#1", 13.0), "c/b#1 is of no open constellation"),
        (done("d/a#1", 13.0), "d/a#1 is of no open constellation"),
    ):
        with pytest.raises(StaleAttempt, match=why):
            log.core.check(event)
    assert encoded(log.core.constellations["c"]) == before


def test_a_terminal_state_never_changes():
    log = Log()
    log.feed(*device(slots=3), submit(star("a"), star("b"), star("z"), star("y"), line("b>y")))
    log.feed(done("c/a#1"), fail("c/b#1", 2.0))
    ended = {name: state for name, state in log.states().items() if state in TERMINAL}
    assert ended == {"a": "succeeded", "b": "failed", "y": "skipped"}

    for event in (fail("c/a#1", 3.0), done("c/b#1", 3.0), accept("c/a#1", 3.0)):
        with pytest.raises(StaleAttempt):
            log.core.check(event)
    log.feed(cancel(4.0), disconnect(at=5.0))
    log.wait(1_000.0)
    assert {name: log.states()[name] for name in ended} == ended
    assert log.states()["z"] == "cancelled"


def test_progress_and_acceptance_are_noted_with_the_attempt():
    log = Log()
    progress = StarProgressed(
        at=2.0, constellation="c", star="a", attempt=1, device="laptop", note="half", fraction=0.5
    )
    log.feed(*device(), submit(star("a")), accept("c/a#1", 1.0), progress, accept("c/a#1", 3.0))

    attempt = log.course("a").attempts[0]
    assert (attempt.accepted_at, attempt.note, attempt.fraction, log.states()) == (3.0, "half", 0.5, {"a": "running"})


# Constellations beside each other.


def test_two_constellations_never_mix():
    log = Log()
    log.feed(*device(slots=4), pair(c="c1"), pair(c="c2"), fail("c1/a#1"), done("c2/a#1", 2.0, result="two"))

    assert log.states("c1") == {"a": "failed", "b": "skipped"}
    assert log.states("c2") == {"a": "succeeded", "b": "leased"}
    assert list(log.core.constellations) == ["c2"]
    log.feed(cancel(3.0, c="c2"), done("c2/b#1", 4.0))
    assert log.course("a", "c1").failure == OOPS
    for name in ("c1", "c2"):
        assert {event.constellation for event in stream(log.events, name)} == {name}


def test_a_constellation_that_exists_or_is_empty_or_badly_named_is_refused():
    log = Log()
    log.feed(pair())
    for event, kind, place in (
        (pair(), Conflict, None),
        (submit(c="d"), InvalidEdit, "/stars"),
        (submit(star("a"), c="~fleet"), InvalidEdit, "/constellation"),
        (submit(star("a"), c="a/b"), InvalidEdit, "/constellation"),
    ):
        with pytest.raises(kind) as refusal:
            log.core.check(event)
        assert getattr(refusal.value, "place", None) == place


def test_what_is_not_there_cannot_be_changed():
    log = Log()
    with pytest.raises(UnknownId, match="no open constellation 'c'"):
        log.core.check(cancel(1.0))
    log.feed(pair())
    with pytest.raises(UnknownId, match="no star 'z'"):
        log.core.constellation("c").course("z")
    assert log.core.constellation("c").course("a").star.id == "a"
    assert log.core.constellation("c").result_of("z") is None


# Results of any shape.


@pytest.mark.parametrize("poison", [b"1e999", b"[" * 900 + b"]" * 900, b'"\xff"'])
def test_a_result_that_cannot_be_read_fails_who_needs_it_and_not_the_galaxy(poison):
    log = Log()
    stars = [star("a"), star("b", arguments={"from": {"$from": "a"}}), star("z")]
    log.feed(*device(slots=9), submit(*stars, line("a>z", condition="result == 1")))
    log.feed(report("c/a#1", result=Raw(poison)))

    states = log.states()
    assert states["a"] == "succeeded"
    assert states["z"] == "skipped"
    assert states["b"] == ("leased" if poison.startswith(b"[") else "failed")


def test_the_core_replayed_from_its_log_is_the_same():
    log = Log()
    log.feed(*device(), *device("tower"), pair(), pair(c="d", at=1.0), accept("c/a#1", 2.0), done("c/a#1", 3.0))

    for name, constellation in log.core.constellations.items():
        assert encoded(replayed(stream(log.events, name))) == encoded(constellation)


def test_a_reloaded_core_goes_on_where_the_old_one_was():
    log = Log()
    log.feed(*device(slots=2), pair(), pair(c="d", at=1.0), accept("c/a#1", 2.0), disconnect(at=3.0))
    back = connect(at=4.0, resumed=True, profile=profile(slots=2))
    after = reloaded(log)

    assert after.core.load() == log.core.load() == {}
    assert after.core.next_deadline() == log.core.next_deadline() == 65.2
    for each in (log, after):
        assert told(each.feed(back, done("c/a#1", 5.0))) == ["dispatch c/b#1 to laptop"]
        assert each.core.load() == {"laptop": (2, 2)}
    assert encoded(after.core.constellations["c"]) == encoded(log.core.constellations["c"])


def test_a_reloaded_core_gives_the_same_reasons_as_a_replayed_one():
    """`z` is behind two stars that are skipped at once: the cause is the one that comes first."""
    log = Log()
    stars = [star(name) for name in "abxyz"]
    log.feed(*device(slots=2), submit(*stars, *map(line, ("b>x", "a>y", "a>x", "x>z", "y>z"))))
    after = reloaded(log)
    for each in (log, after):
        each.feed(fail("c/a#1"))

    assert log.course("z").cause == "it needed the success of y, which was skipped"
    assert encoded(after.core.constellations["c"]) == encoded(replayed(stream(log.events, "c")))


@pytest.mark.parametrize("result", [None, {"n": [1, None]}, "text", 0])
def test_a_result_of_any_kind_is_the_same_after_a_reload(result):
    """Null is a result too: who binds to it is given null."""
    log = Log()
    log.feed(*device(), submit(star("a"), star("b", arguments={"from": {"$from": "a"}})), disconnect(at=0.5))
    log.feed(connect(at=0.6, resumed=True), done("c/a#1", result=result), disconnect(at=2.0))
    after = reloaded(log)

    assert bytes(after.core.constellations["c"].result_of("a")) == msgspec.json.encode(result)
    (again,) = after.feed(connect(at=3.0, boot="boot-2"))
    assert isinstance(again, Dispatch)
    assert msgspec.json.decode(again.arguments) == {"from": result}


def test_an_attempt_has_a_name_that_can_be_read_back():
    assert AttemptId.parse("c/a#2") == ("c", "a", 2)
    for text in ("", "c/a", "c#1", "/a#1", "c/#1", "c/a#", "c/a#two"):
        with pytest.raises(ValueError, match=r".*"):
            AttemptId.parse(text)


def test_what_a_star_needs_beside_its_tool_decides_too():
    log = Log()
    needs = Needs(tools=("gpu",), labels={"room": "attic"}, device="tower")
    log.feed(*device(), *device("tower", tools=("shell", "gpu"), room="cellar"), submit(star("a", needs=needs)))

    wait = log.core.explained(log.core.constellations["c"], log.core.constellations["c"].courses["a"])
    assert wait.refused == {"laptop": "the star is pinned to tower", "tower": "it has no label room=attic"}
    assert told(log.feed(connect("tower", 1.0, profile=profile(tools=("shell", "gpu"), room="attic")))) == [
        "dispatch c/a#1 to tower"
    ]
    assert log.of(StarLeased)[0].purpose is Purpose.RUN
