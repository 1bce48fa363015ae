"""A second attempt beside the first: a substitute while a device is gone, a hedge while one is slow."""

import pytest
from msgspec.structs import replace

from galaxy.core.events import (
    AttemptRevoked,
    DeviceAsleep,
    DeviceLost,
    DeviceProfiled,
    DeviceSuspected,
    DeviceTrusted,
    ReportRefused,
    StarLeased,
)
from galaxy.core.fleet import Presence
from galaxy.core.rivals import REPLACE_AFTER_S
from galaxy.core.star import Disconnect, Reconcile
from protocol.vocabulary import Effect, Outcome, Verdict

from .helpers import (
    KeptLog,
    accept,
    cancel,
    connect,
    device,
    disconnect,
    done,
    fail,
    profile,
    report,
    star,
    submit,
    told,
)

PURE = Effect.PURE


def away(effect: Effect = PURE, slots: int = 1, **policy) -> KeptLog:
    """A star under way on the laptop, which is gone for long enough that a tower could take it too."""
    log = KeptLog()
    log.feed(*device(effect=effect), submit(star("a", disconnect=Disconnect(**policy)), star("z")), accept("c/a#1"))
    log.feed(*device("tower", at=1.0, effect=effect, slots=slots), done("c/z#1", 1.5, by="tower"))
    log.feed(disconnect(at=2.0))
    return log


def back(log: KeptLog, at: float = 9.0):
    return log.feed(connect(at=at, held=("c/a#1",), profile=profile(effect=PURE)))


def test_a_pure_call_gets_a_substitute_while_its_device_is_gone_and_the_first_result_counts():
    log = away()
    assert log.wait(1.9 + REPLACE_AFTER_S) == [], "most are back sooner"
    assert told(log.wait(2.0 + REPLACE_AFTER_S)) == ["dispatch c/a#2 to tower"]
    leased = log.of(StarLeased)[-1]
    assert (leased.beside, leased.why) == (1, "laptop is gone and may come back")
    assert [o.verdict for o in back(log)] == [Verdict.CONTINUE], "both go on"

    orders = log.feed(done("c/a#1", 10.0))
    assert told(orders) == ["revoke c/a#2 at tower"]
    assert log.states()["a"] == "succeeded"
    assert "c" in log.core.constellations, "the tower may still act"
    log.feed(report("c/a#2", Outcome.CANCELLED, at=11.0, by="tower"))
    assert log.core.constellations == {}
    assert log.core.load() == {"laptop": (0, 1), "tower": (0, 1)}


def test_a_device_that_is_back_in_time_gets_no_substitute():
    log = away()
    back(log, at=3.0)

    assert log.wait(60.0) == []


@pytest.mark.parametrize("effect", [Effect.ONCE, Effect.INTERACTIVE])
def test_what_may_not_be_repeated_gets_no_substitute_even_if_it_is_asked_for(effect):
    log = away(effect, replace=True, lost_after_s=30.0)

    assert log.wait(30.0) == []


def test_an_idempotent_call_gets_a_substitute_only_if_it_is_asked_for():
    assert away(Effect.IDEMPOTENT).wait(30.0) == []
    assert told(away(Effect.IDEMPOTENT, replace=True).wait(30.0)) == ["dispatch c/a#2 to tower"]


def test_a_substitute_can_be_told_to_give_way_to_the_original():
    log = away(reconcile=Reconcile.KEEP_ORIGINAL)
    log.wait(8.0)

    assert told(back(log)) == ["continue c/a#1 at laptop: its lease holds", "revoke c/a#2 at tower"]
    (revoked,) = log.of(AttemptRevoked)
    assert revoked.reason == "laptop is back, and its attempt is kept"
    log.feed(report("c/a#2", Outcome.CANCELLED, at=10.0, by="tower"))
    assert log.states()["a"] == "running"
    log.feed(done("c/a#1", 11.0))
    assert log.states()["a"] == "succeeded"


def test_an_original_can_be_told_to_give_way_to_its_substitute():
    log = away(reconcile=Reconcile.KEEP_REPLACEMENT)
    log.wait(8.0)
    back(log)

    assert log.of(AttemptRevoked)[0].attempt == 1
    log.feed(fail("c/a#2", 10.0, by="tower"))
    assert log.states()["a"] == "running", "the original has not confirmed its end"
    log.feed(report("c/a#1", Outcome.CANCELLED, at=11.0))
    assert (log.states()["a"], log.course("a").failure.code) == ("failed", "oops")


def test_a_failure_does_not_count_for_the_star_while_the_other_attempt_goes_on():
    log = away()
    log.wait(8.0)
    log.feed(fail("c/a#2", 9.0, by="tower"))
    assert log.states()["a"] == "running"
    back(log, at=10.0)
    log.feed(done("c/a#1", 11.0))

    assert log.states()["a"] == "succeeded"


def test_a_cancel_stops_both_attempts_and_ends_with_the_last():
    log = away()
    log.wait(8.0)
    back(log)
    assert told(log.feed(cancel(10.0))) == ["revoke c/a#1 at laptop", "revoke c/a#2 at tower"]
    log.feed(report("c/a#1", Outcome.CANCELLED, at=11.0))
    assert log.states()["a"] == "running"
    log.feed(report("c/a#2", Outcome.CANCELLED, at=12.0, by="tower"))

    assert log.states()["a"] == "cancelled"


def slow(attempts: int) -> KeptLog:
    """A tool that takes a second, called so many times, and a star that takes longer."""
    log = KeptLog()
    log.feed(*device(effect=PURE, slots=2), *device("tower", effect=PURE, slots=2))
    for n in range(attempts):
        log.feed(submit(star("a"), c=f"d{n}", at=float(n)))
        log.feed(report(f"d{n}/a#1", at=n + 0.5, by=log.of(StarLeased)[-1].device, ran_s=1.0))
    log.feed(submit(star("a", hedge=True), star("b"), at=100.0))
    return log


def test_a_hedged_call_that_takes_longer_than_95_of_100_gets_a_second_attempt_elsewhere():
    log = slow(40)
    first = log.of(StarLeased)[-2]
    (order,) = log.wait(101.0)

    assert (order.attempt.star, order.attempt.number) == ("a", 2), "only the star that asks for it"
    assert order.device != first.device
    assert "than 95 of 100 calls of shell do" in log.of(StarLeased)[-1].why


def test_hedges_are_at_most_a_twentieth_of_all_attempts():
    assert slow(10).wait(150.0) == []


def test_what_did_not_begin_on_a_device_that_is_back_is_left_to_the_attempt_beside_it():
    log = KeptLog()
    log.feed(*device(effect=PURE), submit(star("a")), *device("tower", at=1.0, effect=PURE), disconnect(at=2.0))
    log.wait(2.0 + REPLACE_AFTER_S)
    assert log.feed(connect(at=9.0, profile=profile(effect=PURE))) == [], "it does not name the attempt"
    assert [attempt.number for attempt in log.course("a").open] == [2]

    log.feed(done("c/a#2", 10.0, by="tower"))
    assert log.core.constellations == {}


def test_a_star_that_is_cancelled_before_its_device_comes_back_without_it_ends_as_cancelled():
    log = KeptLog()
    log.feed(*device(), submit(star("a")), disconnect(at=2.0), cancel(3.0))
    log.feed(connect(at=4.0))

    assert log.states() == {"a": "cancelled"}


def test_a_substitute_that_nobody_can_take_is_wanted_no_more_when_the_device_is_back_or_all_is_over():
    for end in (back, lambda log: log.feed(cancel(8.0))):
        log = KeptLog()
        log.feed(*device(effect=PURE), submit(star("a")), accept("c/a#1"), disconnect(at=2.0))
        log.wait(3.0 + REPLACE_AFTER_S)
        assert log.core.placer.seeks_rivals
        end(log)
        assert not log.core.placer.seeks_rivals


def test_of_what_must_give_way_and_is_being_stopped_already_nothing_more_is_said():
    log = away(reconcile=Reconcile.KEEP_ORIGINAL)
    log.wait(2.0 + REPLACE_AFTER_S)
    log.feed(cancel(8.0))
    back(log)

    assert log.of(AttemptRevoked) == []


def test_a_late_report_of_another_device_than_the_attempts_is_not_kept_with_it():
    log = KeptLog()
    log.feed(*device(), submit(star("a"), star("b")), done("c/a#1", 1.0))
    for device_id, kept in (("tower", ""), ("laptop", "succeeded")):
        refused = ReportRefused(
            at=2.0, constellation="c", star="a", attempt=1, device=device_id, reason="late", said="succeeded"
        )
        log.feed(refused)
        assert log.course("a").attempts[0].late == kept


def test_a_device_that_sleeps_or_is_suspected_is_named_with_that_where_a_star_waits_for_it():
    log = KeptLog()
    log.feed(*device(), DeviceAsleep(at=1.0, device="laptop", until=1_000.0, reason="night"), submit(star("a"), at=2.0))
    assert log.why("a") == "no device is able: laptop: it goes to sleep"


def test_a_tool_that_its_device_has_withdrawn_is_waited_for_and_nothing_else_is():
    log = KeptLog()
    both = profile(tools=("shell", "net"))
    log.feed(*device(tools=("shell", "net")))
    log.feed(DeviceProfiled(at=1.0, device="laptop", profile=replace(both, withdrawn={"net": "no route"})))

    assert told(log.feed(submit(star("a", tool="net"), star("b"), at=2.0))) == ["dispatch c/b#1 to laptop"]
    assert log.why("a") == "no device is able: laptop: it has withdrawn net (no route)"


def test_a_suspected_device_gets_no_new_work_until_it_speaks():
    log = KeptLog()
    log.feed(*device(), DeviceSuspected(at=1.0, device="laptop", phi=8.0, reason="silent for 9 s"))
    assert log.feed(submit(star("a"), at=2.0)) == []
    assert log.why("a") == "no device is able: laptop: it is suspected: silent for 9 s"

    assert told(log.feed(DeviceTrusted(at=3.0, device="laptop"))) == ["dispatch c/a#1 to laptop"]


def test_a_device_that_sleeps_is_waited_for_until_it_has_said_that_it_would_be_back():
    log = KeptLog()
    log.feed(*device(), submit(star("a", disconnect=Disconnect(lost_after_s=60.0))), accept("c/a#1"))
    log.feed(DeviceAsleep(at=2.0, device="laptop", until=1_002.0, reason="night"), disconnect(at=3.0))
    assert log.core.fleet.devices["laptop"].presence is Presence.ASLEEP
    log.wait(1_060.0)
    assert log.states() == {"a": "running"}
    log.wait(1_070.0)
    assert log.states() == {"a": "failed"}


def test_a_device_that_has_been_gone_for_long_is_lost_and_may_come_back_all_the_same():
    log = KeptLog()
    log.feed(*device(), disconnect(at=1.0))
    log.wait(900.9)
    assert log.of(DeviceLost) == []
    log.wait(901.0)
    assert log.core.fleet.devices["laptop"].presence is Presence.LOST
    log.feed(connect(at=1_000.0))

    assert log.core.fleet.devices["laptop"].presence is Presence.CONNECTED


def test_a_device_that_comes_back_without_its_journal_is_not_believed_to_have_begun_nothing():
    log = KeptLog()
    log.feed(*device(effect=Effect.ONCE), connect(profile=profile(effect=Effect.ONCE), at=0.5))
    forgetful = connect(at=3.0, boot="boot-2", profile=profile(effect=Effect.ONCE))
    log.core.fleet.devices["laptop"].journal = "first"
    log.feed(submit(star("a"), at=1.0), disconnect(at=2.0))
    log.feed(
        type(forgetful)(**{**{f: getattr(forgetful, f) for f in forgetful.__struct_fields__}, "journal": "second"})
    )

    assert (log.states(), log.course("a").failure.code) == ({"a": "failed"}, "outcome_unknown")
