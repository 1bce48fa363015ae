"""Devices that come and go: leases that survive it, leases that do not, and slots that never leak."""

import msgspec
import pytest

from galaxy.core import fleet as fleets
from galaxy.core.attempt import LeaseEnd
from galaxy.core.checks import recorded_refusal
from galaxy.core.edit import Supersede
from galaxy.core.errors import Conflict, StaleAttempt, UnknownId
from galaxy.core.events import (
    DeviceJoined,
    DeviceProfiled,
    JoinTokenMinted,
    LeaseEnded,
    NodeStarted,
    ReportRefused,
    StarLeased,
)
from galaxy.core.fleet import Fleet, Presence
from galaxy.core.orders import Disconnect, TellDrain
from galaxy.core.star import Disconnect as OnDisconnect
from galaxy.core.star import Timeouts
from protocol.vocabulary import Effect, Verdict

from .helpers import (
    AGAIN,
    AT_ONCE,
    Log,
    accept,
    cancel,
    connect,
    device,
    disconnect,
    done,
    drain,
    edit,
    fail,
    joined,
    pair,
    profile,
    reject,
    reloaded,
    revoke,
    star,
    submit,
    told,
)

GONE_AFTER = OnDisconnect(lost_after_s=60.0)


def running(**more) -> Log:
    """One star under way on the laptop, and a tower that could do it too."""
    log = Log()
    log.feed(*device(), submit(star("a", retry=AT_ONCE, disconnect=GONE_AFTER, **more)), accept("c/a#1"))
    log.feed(*device("tower", at=1.0))
    return log


# Disconnected.


def test_a_dropped_socket_is_neither_a_failure_nor_a_cancel():
    log = running()
    assert log.feed(disconnect(at=2.0)) == []

    assert log.states() == {"a": "running"}
    assert log.feed(connect(at=63.0, resumed=True), done("c/a#1", 64.0)) == []
    assert log.states() == {"a": "succeeded"}
    assert len(log.of(StarLeased)) == 1


def test_a_device_that_is_gone_for_too_long_loses_its_lease_to_another():
    log = running()
    log.feed(disconnect(at=2.0))
    assert log.wait(64.1) == [], "60 s, what its clock may drift, and a grace"

    assert told(log.wait(64.2)) == ["dispatch c/a#2 to tower"]
    (ended,) = log.of(LeaseEnded)
    assert (ended.cause, ended.failure.code) == (LeaseEnd.LOST, "device_lost")


def test_a_device_that_lost_its_lease_is_told_to_stop_when_it_comes_back_resumed_or_not():
    for back in (
        connect(at=100.0, resumed=True, held=("c/a#1",)),
        connect(at=100.0, boot="boot-2", held=("c/a#1",)),
    ):
        log = running()
        log.feed(disconnect(at=2.0))
        log.wait(65.0)

        (order,) = log.feed(back)
        assert (order.verdict, order.reason) == (Verdict.SUPERSEDED, "attempt 2 has taken its place")
        assert log.states() == {"a": "leased"}


def test_a_late_report_is_told_that_it_is_late_and_kept_with_its_attempt():
    log = running()
    log.feed(disconnect(at=2.0))
    log.wait(65.0)

    assert [o.verdict for o in log.feed(connect(at=100.0, finished=("c/a#1",)))] == [Verdict.SUPERSEDED]
    late = done("c/a#1", 101.0)
    with pytest.raises(StaleAttempt) as refusal:
        log.core.check(late)
    log.feed(recorded_refusal(log.core, late, refusal.value))
    assert [attempt.late for attempt in log.course("a").attempts] == ["succeeded", ""]
    assert log.states() == {"a": "leased"}


def test_a_dispatch_that_never_arrived_is_given_out_again_under_a_new_number():
    log = Log()
    log.feed(*device(effect=Effect.ONCE), submit(star("a")), disconnect(at=1.0))

    assert told(log.feed(connect(at=2.0, profile=profile(effect=Effect.ONCE)))) == ["dispatch c/a#2 to laptop"]
    (ended,) = log.of(LeaseEnded)
    assert (ended.cause, log.course("a").failures) == (LeaseEnd.NOT_STARTED, 0)


def test_a_device_that_still_holds_its_attempt_keeps_it_after_a_restart_of_the_session():
    for back in (connect(at=3.0, held=("c/a#1",)), connect(at=3.0, finished=("c/a#1",), boot="boot-2")):
        log = running()
        assert [o.verdict for o in log.feed(disconnect(at=2.0), back)] == [Verdict.CONTINUE]
        assert log.feed(done("c/a#1", 4.0)) == []


def test_a_device_can_replace_its_own_connection_without_a_word():
    log = running()

    assert log.feed(connect(at=2.0, resumed=True)) == []
    assert log.core.next_deadline() == 331.0


def test_a_node_that_starts_anew_waits_for_its_devices_before_it_gives_their_work_away():
    log = reloaded(running())
    assert log.feed(NodeStarted(at=1_000.0)) == []
    assert {d.presence for d in log.core.fleet.devices.values()} == {Presence.UNREACHABLE}
    log.wait(1_179.0)
    assert log.states() == {"a": "running"}, "all of them dial at once: they have longer than after a loss"

    assert [o.verdict for o in log.feed(connect(at=1_179.5, held=("c/a#1",)))] == [Verdict.CONTINUE]
    log.wait(1_209.0)
    assert log.states() == {"a": "running"}


def test_a_lost_stopping_attempt_is_over_and_not_tried_again():
    log = running()
    log.feed(cancel(2.0), disconnect(at=2.0))
    assert log.feed(NodeStarted(at=3.0)) == []
    log.wait(184.0)
    assert log.states() == {"a": "running"}
    log.wait(186.0)

    assert log.states() == {"a": "cancelled"}
    assert log.of(LeaseEnded)[0].failure.code == "device_lost"


# Revoked and drained.


def test_a_revoked_device_is_cut_off_and_its_work_given_to_another():
    log = running()

    assert log.feed(revoke(at=2.0))[:1] == [Disconnect("laptop", "stolen")]
    assert log.of(LeaseEnded)[0].cause is LeaseEnd.REVOKED
    assert log.of(StarLeased)[-1].device == "tower"
    for event in (connect(at=3.0), drain(at=3.0), revoke(at=3.0)):
        with pytest.raises(Conflict, match="device laptop is revoked"):
            log.core.check(event)


def test_a_name_is_free_again_after_its_device_was_revoked_and_its_old_work_stays_over():
    log = running()
    log.feed(revoke(at=2.0), *device(at=3.0))

    assert log.core.load() == {"tower": (1, 1), "laptop": (0, 1)}
    with pytest.raises(Conflict, match="is over"):
        log.core.check(done("c/a#1", 4.0))


def test_a_drained_device_finishes_what_it_has_and_gets_nothing_new():
    log = Log()
    log.feed(*device(), pair())
    assert log.feed(drain(at=1.0)) == [TellDrain("laptop", "evening")]
    assert log.feed(done("c/a#1", 2.0)) == []

    assert log.why("b") == "no device is able: laptop: it is draining: evening"
    log.feed(disconnect(at=3.0), connect(at=4.0, resumed=True))
    assert log.states()["b"] == "ready", "the same agent is still drained"
    assert told(log.feed(disconnect(at=5.0), connect(at=6.0, boot="boot-2"))) == ["dispatch c/b#1 to laptop"]


# Slots.


def test_one_device_never_holds_more_than_its_slots():
    log = Log()
    log.feed(*device(slots=2), submit(*(star(f"s{n}") for n in range(5))))
    assert log.core.load() == {"laptop": (2, 2)}

    for n in range(5):
        log.feed(done(f"c/s{n}#1", 1.0 + n))
        assert log.core.load()["laptop"][0] <= 2
    assert log.core.load() == {"laptop": (0, 2)}


def test_slots_follow_what_the_device_says_of_itself():
    log = Log()
    log.feed(*device(slots=2), submit(*(star(f"s{n}") for n in range(5))))
    log.feed(DeviceProfiled(at=1.0, device="laptop", profile=profile(slots=1)))
    assert log.core.load() == {"laptop": (2, 1)}
    assert log.feed(done("c/s0#1", 2.0)) == []

    assert len(log.feed(DeviceProfiled(at=3.0, device="laptop", profile=profile(slots=4)))) == 3


@pytest.mark.parametrize(
    "way", ["done", "failed", "rejected", "lost", "not begun", "revoked", "overran", "unconfirmed", "forgotten"]
)
def test_no_lease_leaks_its_slot_however_it_ends(way):
    log = Log()
    log.feed(*device(), submit(star("a", disconnect=GONE_AFTER, timeouts=Timeouts(run_s=100.0, queue_s=10.0))))
    match way:
        case "done":
            log.feed(done("c/a#1"))
        case "failed":
            log.feed(fail("c/a#1"))
        case "rejected":
            log.feed(reject("c/a#1", failure=AGAIN))
        case "not begun":
            log.feed(drain(at=1.0), disconnect(at=1.0), connect(at=2.0))
        case "forgotten":
            log.feed(accept("c/a#1"), disconnect(at=1.0), connect(at=2.0))
        case "lost":
            log.feed(disconnect(at=1.0))
        case "revoked":
            log.feed(revoke(at=1.0))
        case "unconfirmed":
            log.feed(edit(Supersede("a", star("b", tool="nowhere", timeouts=Timeouts(queue_s=5.0)))))
    log.wait(1_000.0)

    assert not any(log.core.placer.held.values())
    assert log.core.constellations == {}
    assert log.core.next_deadline() is None


# Joining.


def test_a_device_joins_with_a_token_once_and_in_time():
    log = Log()
    log.feed(*joined("laptop"))
    for event in (
        DeviceJoined(at=1.0, device="tower", public_key="k", token_digest="laptop"),
        DeviceJoined(at=1.0, device="tower", public_key="k", token_digest="nova"),
    ):
        with pytest.raises(Conflict, match="unknown, used or expired"):
            log.core.check(event)
    log.feed(JoinTokenMinted(at=1.0, digest="t", expires_at=5.0))
    with pytest.raises(Conflict, match="unknown, used or expired"):
        log.core.check(DeviceJoined(at=5.0, device="tower", public_key="k", token_digest="t"))
    with pytest.raises(Conflict, match="a device named 'laptop' exists"):
        log.core.check(DeviceJoined(at=2.0, device="laptop", public_key="k", token_digest="t"))
    assert log.core.fleet.device("laptop").slots == 0
    assert log.core.fleet.tools("laptop").get("shell") is None


def test_join_tokens_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(fleets, "JOIN_TOKENS_MAX", 2)
    fleet = Fleet()
    for n, at in enumerate((0.0, 1.0)):
        fleet.apply(JoinTokenMinted(at=at, digest=str(n), expires_at=10.0 + n))
    with pytest.raises(Conflict, match="2 join tokens are unused"):
        fleet.check(JoinTokenMinted(at=2.0, digest="2", expires_at=20.0))
    late = JoinTokenMinted(at=10.0, digest="2", expires_at=20.0)
    fleet.check(late)
    fleet.apply(late)

    assert list(fleet.tokens) == ["1", "2"]


def test_what_a_device_cannot_have_said_is_refused():
    log = Log()
    log.feed(*joined("laptop"))
    with pytest.raises(UnknownId, match="no device 'tower'"):
        log.core.check(connect("tower"))
    with pytest.raises(Conflict, match="device laptop is not connected"):
        log.core.check(disconnect())
    with pytest.raises(Conflict, match="'nonsense' is not an attempt's id"):
        log.core.check(connect(held=("nonsense",)))


def test_a_refused_word_of_a_device_can_be_kept_and_changes_nothing():
    log = running()
    before = log.states()
    refused = recorded_refusal(log.core, done("c/a#7", 2.0, by="tower"), StaleAttempt("c/a#7", "is over"))
    assert refused == ReportRefused(
        at=2.0, constellation="c", star="a", attempt=7, device="tower", reason="c/a#7 is over", said="succeeded"
    )
    log.feed(refused)

    assert log.states() == before
    assert recorded_refusal(log.core, done("nova/a#1", 2.0), StaleAttempt("nova/a#1", "is over")) is None
    assert recorded_refusal(log.core, accept("c/a#7", 2.0), StaleAttempt("c/a#7", "is over")) is None


def test_the_fleet_does_not_mind_what_is_not_about_it():
    log = running()
    before = msgspec.json.encode(log.core.fleet)
    log.core.fleet.apply(cancel(2.0))

    assert msgspec.json.encode(log.core.fleet) == before


def test_a_device_that_comes_back_without_an_attempt_and_reports_it_all_the_same_is_believed():
    """Both come in one batch, before anything that is due is asked for."""
    log = running()
    for event in (disconnect(at=2.0), connect(at=3.0, boot="boot-2"), done("c/a#1", 3.0)):
        log.core.check(event)
        log.events.append(event)
        log.core.apply(event)
    log.wait(4.0)

    assert log.states() == {"a": "succeeded"}
    assert log.of(LeaseEnded) == []


def test_a_tool_that_changes_its_effect_counts_from_then_on():
    log = Log()
    log.feed(*device(), pair())
    log.feed(DeviceProfiled(at=0.5, device="laptop", profile=profile(effect=Effect.ONCE)), done("c/a#1"))

    assert [leased.effect for leased in log.of(StarLeased)] == [Effect.IDEMPOTENT, Effect.ONCE]
