"""What must not happen twice: it is repeated only if it never began, else verified, else its outcome is unknown."""

import pytest

from galaxy.core.attempt import LeaseEnd, Purpose
from galaxy.core.edit import Retry as TryAgain
from galaxy.core.edit import Skip, UpdateStar
from galaxy.core.errors import InvalidEdit
from galaxy.core.events import EffectJudged, LeaseEnded, StarFailed, StarLeased, StarReported
from galaxy.core.star import Disconnect, OnFailure, Retry, Timeouts, Verify, When
from protocol.vocabulary import Effect

from .helpers import (
    AGAIN,
    AT_ONCE,
    OOPS,
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
    pause,
    profile,
    reject,
    reloaded,
    resume,
    revoke,
    star,
    stopped,
    submit,
    told,
    unknown,
)

PROOF = Verify("look", "result.there == true")
TOOLS = ("shell", "look")


def once(**more) -> Log:
    """One star whose effect must happen once, under way on the laptop; the tower could do it too."""
    log = Log()
    more = {"retry": AT_ONCE, "disconnect": Disconnect(lost_after_s=60.0), **more}
    log.feed(
        *device(effect=Effect.ONCE, tools=TOOLS),
        submit(star("a", **more)),
        *device("tower", effect=Effect.ONCE, tools=TOOLS),
        accept("c/a#1"),
    )
    return log


def unknown_outcome(**more) -> Log:
    log = once(**more)
    log.feed(unknown("c/a#1", 2.0))
    return log


def test_what_may_happen_only_once_is_not_repeated_after_a_failure_that_began():
    log = once()
    log.feed(fail("c/a#1", 2.0, failure=AGAIN))

    assert (log.states(), log.course("a").failure) == ({"a": "failed"}, AGAIN)


@pytest.mark.parametrize("how", ["lost", "revoked", "overran", "unknown", "forgotten"])
def test_a_once_call_whose_end_nobody_knows_fails_as_outcome_unknown_and_is_never_repeated(how):
    log = once(timeouts=Timeouts(run_s=100.0))
    match how:
        case "lost":
            log.feed(disconnect(at=2.0))
        case "revoked":
            log.feed(revoke(at=2.0))
        case "unknown":
            log.feed(unknown("c/a#1", 2.0))
        case "forgotten":
            log.feed(disconnect(at=2.0), connect(at=3.0, boot="boot-2"))
    log.wait(1_000.0)

    assert len(log.of(StarLeased)) == 1
    assert log.course("a").failure.code == "outcome_unknown"
    assert log.course("a").failure.message.startswith("begun and cut off: ")


def test_an_interactive_call_is_not_verified_but_left_to_a_person():
    log = Log()
    log.feed(*device(effect=Effect.INTERACTIVE, tools=TOOLS), submit(star("a", verify=PROOF)), unknown("c/a#1"))

    assert log.course("a").failure.code == "outcome_unknown"


def test_a_device_that_accepted_and_came_back_without_it_has_begun_it():
    """An agent that lost its memory cannot say that it never began what it said it had begun."""
    log = once(effects=Effect.IDEMPOTENT)
    log.feed(disconnect(at=2.0), connect(at=3.0, boot="boot-2"))

    (ended,) = log.of(LeaseEnded)
    assert (ended.cause, ended.failure.code) == (LeaseEnd.LOST, "device_lost")
    assert log.of(StarLeased)[1].device == "tower"


def test_a_rejection_after_an_acceptance_does_not_make_it_unbegun():
    log = once()
    log.feed(reject("c/a#1", 2.0))

    assert log.course("a").failure.code == "outcome_unknown"


def test_a_device_that_does_not_name_an_attempt_and_then_accepts_it_has_begun_it():
    """Both come in one batch, before anything that is due is asked for."""
    log = Log()
    log.feed(*device(effect=Effect.ONCE), submit(star("a", retry=AT_ONCE)), disconnect(at=1.0))
    for event in (connect(at=2.0, boot="boot-2", profile=profile(effect=Effect.ONCE)), accept("c/a#1", 2.0)):
        log.core.check(event)
        log.events.append(event)
        log.core.apply(event)
    log.wait(3.0)

    assert log.course("a").failure.code == "outcome_unknown"
    assert len(log.of(StarLeased)) == 1


def test_what_the_star_says_of_its_effect_outranks_the_tool():
    log = once(effects=Effect.PURE)
    log.feed(fail("c/a#1", 2.0, failure=AGAIN))

    assert [leased.effect for leased in log.of(StarLeased)] == [Effect.PURE, Effect.PURE]


# Verification.


def test_a_verification_goes_where_the_effect_may_have_happened_and_is_a_pure_call():
    log = unknown_outcome(verify=PROOF)

    leased = log.of(StarLeased)[1]
    assert (leased.device, leased.purpose, leased.effect) == ("laptop", Purpose.VERIFY, Effect.PURE)
    assert leased.refused == {"tower": "the star is pinned to laptop"}
    orders = once(verify=PROOF).feed(unknown("c/a#1", 2.0))
    assert (orders[0].tool, orders[0].arguments) == ("look", PROOF.arguments)


def test_an_effect_that_happened_is_success_with_the_proof_as_result():
    log = unknown_outcome(verify=PROOF)
    log.feed(accept("c/a#2", 3.0), done("c/a#2", 4.0, result={"there": True}))

    assert log.states() == {"a": "succeeded"}
    assert bytes(log.course("a").result) == b'{"there":true}'
    assert log.course("a").failure is None
    assert [judged.happened for judged in log.of(EffectJudged)] == [True]


def test_an_effect_that_did_not_happen_may_be_tried_again():
    log = unknown_outcome(verify=PROOF)
    log.feed(done("c/a#2", 4.0, result={"there": False}))

    assert [leased.purpose for leased in log.of(StarLeased)] == [Purpose.RUN, Purpose.VERIFY, Purpose.RUN]
    log.feed(done("c/a#3", 5.0, by="tower"))
    assert log.states() == {"a": "succeeded"}


def test_an_effect_that_did_not_happen_waits_for_its_back_off():
    log = unknown_outcome(verify=PROOF, retry=Retry(attempts=2, backoff_s=10.0, jitter=False))
    log.feed(done("c/a#2", 4.0, result={"there": False}))

    assert (log.states(), log.core.next_deadline()) == ({"a": "ready"}, 14.0)


def test_an_effect_that_did_not_happen_fails_when_no_attempts_are_left():
    log = unknown_outcome(verify=PROOF, retry=Retry(attempts=1))
    log.feed(done("c/a#2", 4.0, result={"there": False}))

    assert log.course("a").failure.code == "not_happened"


def test_a_verification_that_cannot_tell_leaves_the_outcome_unknown():
    log = unknown_outcome(verify=PROOF)
    log.feed(done("c/a#2", 4.0, result="nothing of the kind"))

    assert log.course("a").failure.code == "outcome_unknown"
    assert "the verification could not tell" in log.course("a").failure.message


def test_a_verification_is_tried_a_few_times_and_then_given_up():
    log = unknown_outcome(verify=PROOF)
    for n in (2, 3, 4):
        log.wait(n * 100.0)
        log.feed(fail(f"c/a#{n}", n * 100.0, failure=AGAIN))

    assert log.course("a").failure.message == "the verification failed: try again"
    assert len(log.of(StarLeased)) == 4


def test_each_verification_has_tries_of_its_own():
    log = unknown_outcome(verify=PROOF)
    for n in (2, 3):
        log.wait(n * 100.0)
        log.feed(fail(f"c/a#{n}", n * 100.0, failure=AGAIN))
    log.wait(400.0)
    log.feed(done("c/a#4", 400.0, result={"there": False}), unknown("c/a#5", 401.0, by="tower"))
    for n in (6, 7):
        log.wait(n * 100.0)
        log.feed(fail(f"c/a#{n}", n * 100.0, by="tower", failure=AGAIN))

    assert (log.states(), log.course("a").purpose) == ({"a": "leased"}, Purpose.VERIFY)


def test_a_verification_that_will_not_work_is_given_up_at_once():
    log = unknown_outcome(verify=PROOF)
    log.feed(fail("c/a#2", 3.0, failure=OOPS))

    assert log.course("a").failure.code == "outcome_unknown"


def test_a_verification_that_no_device_can_make_leaves_the_outcome_unknown_and_does_not_wait_for_ever():
    log = once(verify=PROOF, timeouts=Timeouts(queue_s=600.0))
    log.feed(revoke(at=2.0))
    assert log.why("a") == "no device is able: laptop: it is revoked: stolen; tower: the star is pinned to laptop"
    log.wait(700.0)

    assert [failed.failure.code for failed in log.of(StarFailed)] == ["outcome_unknown"]


def test_a_verification_that_succeeds_after_a_cancel_just_ends_the_star():
    log = unknown_outcome(verify=PROOF)
    log.feed(cancel(3.0), done("c/a#2", 4.0, result={"there": True}))

    assert log.states() == {"a": "cancelled"}
    log = unknown_outcome(verify=PROOF)
    log.feed(cancel(3.0), stopped("c/a#2", 4.0))
    assert log.states() == {"a": "cancelled"}


@pytest.mark.parametrize("end", ["cancel", "skip"])
def test_a_star_that_ends_before_its_proof_is_judged_stays_ended(end):
    """The report and the person's word come in one batch, before anything that is due is asked for."""
    log = unknown_outcome(verify=PROOF)
    for event in (
        done("c/a#2", 4.0, result={"there": True}),
        cancel(4.0) if end == "cancel" else edit(Skip("a"), at=4.0),
    ):
        log.core.check(event)
        log.events.append(event)
        log.core.apply(event)
    log.wait(5.0)

    assert log.of(EffectJudged) == []
    assert log.states() == {"a": "cancelled" if end == "cancel" else "skipped"}


def test_a_star_whose_outcome_is_being_verified_cannot_be_rewritten_but_skipped():
    log = once(verify=PROOF)
    log.feed(unknown("c/a#1", 2.0), disconnect(at=2.0), connect(at=2.5, boot="boot-2"))
    log.feed(disconnect(at=3.0))
    log.wait(100.0)
    with pytest.raises(InvalidEdit, match="star a is being verified"):
        log.core.check(edit(UpdateStar(star("a")), at=100.0))

    log.feed(edit(Skip("a", "never mind"), at=101.0))
    assert (log.states(), log.course("a").cause) == ({"a": "skipped"}, "never mind")


def test_a_proof_is_judged_though_the_constellation_is_paused_and_after_a_reload():
    log = unknown_outcome(verify=PROOF)
    log.feed(pause(3.0))
    event = done("c/a#2", 4.0, result={"there": False})
    log.core.check(event)
    log.events.append(event)
    log.core.apply(event)
    assert log.why("a") == "the constellation is paused: lunch"
    after = reloaded(log)
    for each in (log, after):
        assert each.wait(5.0) == []
        assert [judged.happened for judged in each.of(EffectJudged)] == [False]
        assert told(each.feed(resume(6.0))) == ["dispatch c/a#3 to tower"]


def test_a_proof_that_waits_to_be_judged_is_told_as_such():
    log = unknown_outcome(verify=PROOF)
    log.core.apply(done("c/a#2", 4.0, result={"there": True}))

    assert log.why("a") == "what a verification found is being judged"


def test_a_proof_that_ends_everything_leaves_a_condition_that_nobody_asks_any_more():
    """Success poses the question of `z`, and skips `b`, and so `z`, in one breath."""
    log = Log()
    log.feed(*device(effect=Effect.ONCE, tools=TOOLS))
    asks, skips = line("a>z", condition="result.there"), line("a>b", When.FAILURE)
    log.feed(submit(star("a", verify=PROOF), star("z"), star("b"), asks, skips, line("b>z")), unknown("c/a#1"))
    log.feed(done("c/a#2", 2.0, result={"there": True}))

    assert log.states() == {"a": "succeeded", "z": "skipped", "b": "skipped"}
    assert log.core.constellations == {}
    assert log.feed(*device("tower", at=3.0)) == []


def test_a_verification_that_cannot_tell_may_be_left_to_a_person():
    log = unknown_outcome(verify=PROOF, on_failure=OnFailure.PAUSE)
    log.feed(done("c/a#2", 4.0, result="nothing of the kind"))

    assert log.states() == {"a": "ready"}
    assert log.core.constellations["c"].paused.startswith("waits for a person: a failed: the verification could not")
    assert told(log.feed(edit(TryAgain("a"), at=5.0))) == ["dispatch c/a#3 to tower"]


def test_a_person_may_repeat_what_has_an_unknown_outcome():
    log = unknown_outcome(on_failure=OnFailure.PAUSE)
    assert log.core.constellations["c"].paused.startswith("waits for a person: a failed: begun and cut off")

    assert told(log.feed(edit(TryAgain("a"), at=3.0))) == ["dispatch c/a#2 to tower"]
    assert [event.outcome for event in log.of(StarReported)] == ["unknown"]
