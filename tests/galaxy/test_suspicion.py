"""When a silence is suspect: what a rhythm learns, what it forgives, and what a look costs."""

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy.suspicion import (
    DEVIATIONS,
    HEARTBEAT_MAX_S,
    HEARTBEATS_MAX,
    HEARTBEATS_PER_S,
    LATE_S,
    LISTEN_S,
    PATIENCE,
    PHI,
    WINDOW,
    Rhythm,
    Watch,
    Watched,
    heartbeat_for,
)
from protocol.messages import Challenge, Hello, Renew, Welcome
from protocol.session import SILENCES_MAX, Session
from protocol.states import DEVICE, GALAXY
from protocol.vocabulary import Kind, Profile

PACES = st.floats(0.2, 60.0)
KINDS = st.sampled_from(Kind)


def rhythm(gaps: list[float], heartbeat_s: float = 5.0, kind: Kind = Kind.SERVER) -> Rhythm:
    """Return a rhythm that has heard a device after each of these gaps, from 0 on."""
    learned = Rhythm(kind, 0.0)
    for gap in gaps:
        learned.heard(learned.heard_at + gap, heartbeat_s)
    return learned


def silence(learned: Rhythm, heartbeat_s: float = 5.0) -> float:
    """Return how long a silence is not suspect."""
    return learned.suspect_at(heartbeat_s) - learned.heard_at


# What is suspect.


@given(KINDS, PACES, st.lists(st.floats(-0.15, 1.0), max_size=100))
def test_regular_heartbeats_with_jitter_are_never_suspected(kind: Kind, heartbeat_s: float, jitter: list[float]):
    """Up to the pause that the kind may make, and half a heartbeat at most: later than that is not regular."""
    learned = Rhythm(kind, 0.0)
    allowed = min(PATIENCE[kind].pause_s + DEVIATIONS * PATIENCE[kind].deviation_s, heartbeat_s * (HEARTBEATS_MAX - 1))
    for share in jitter:
        late_s = share * (allowed if share > 0 else heartbeat_s) * 0.99
        at = learned.heard_at + heartbeat_s + late_s
        assert at <= learned.suspect_at(heartbeat_s)
        learned.heard(at, heartbeat_s)


@given(KINDS, PACES, st.lists(st.floats(0.0, 1e6), max_size=100))
def test_whatever_was_learned_a_silence_is_suspected_before_the_link_is_closed(
    kind: Kind, heartbeat_s: float, gaps: list[float]
):
    found = silence(rhythm(gaps, heartbeat_s, kind), heartbeat_s)

    assert heartbeat_s < found <= HEARTBEATS_MAX * heartbeat_s + 1e-6 * sum(gaps)
    assert HEARTBEATS_MAX < SILENCES_MAX


@pytest.mark.parametrize(
    ("kind", "heartbeats"), [(Kind.SERVER, 1.6), (Kind.DESKTOP, 1.9), (Kind.EDGE, 2.2), (Kind.MOBILE, 2.5)]
)
def test_each_kind_of_device_is_given_its_own_patience(kind: Kind, heartbeats: float):
    assert silence(rhythm([5.0] * 20, kind=kind)) / 5.0 == pytest.approx(heartbeats, abs=0.05)


def test_a_device_that_is_late_as_a_rule_is_expected_late():
    assert silence(rhythm([6.5] * WINDOW)) == pytest.approx(6.5 + DEVIATIONS * 0.5)
    assert silence(rhythm([5.0, 8.0] * WINDOW)) == pytest.approx(min(6.5 + DEVIATIONS * 1.5, 12.5))


def test_a_rhythm_forgets_what_is_long_ago():
    assert silence(rhythm([12.0] * WINDOW + [5.0] * WINDOW)) == pytest.approx(silence(rhythm([5.0])))


@given(st.lists(st.floats(0.0, 0.79), min_size=1, max_size=200))
def test_chatter_makes_nobody_expect_more_of_it(shares: list[float]):
    """While a call tells of its progress there is a frame each moment; when it ends, one in each heartbeat."""
    assert silence(rhythm([share * 5.0 for share in shares])) == pytest.approx(silence(rhythm([])))


@given(st.lists(st.floats(0.0, 12.0), max_size=100), st.floats(0.0, 100.0), st.floats(0.0, 100.0), PACES, PACES)
def test_suspicion_only_grows_with_silence_and_only_shrinks_with_the_heartbeat(
    gaps: list[float], one: float, other: float, pace: float, another: float
):
    learned = rhythm(gaps)
    sooner, later = sorted((learned.heard_at + one, learned.heard_at + other))

    assert learned.phi(sooner, pace) <= learned.phi(later, pace)
    assert learned.suspect_at(min(pace, another)) <= learned.suspect_at(max(pace, another))
    assert learned.phi(later, max(pace, another)) <= learned.phi(later, min(pace, another))


@given(KINDS, st.lists(st.floats(4.0, 6.0), max_size=100))
def test_a_silence_is_suspect_just_when_phi_says_so(kind: Kind, gaps: list[float]):
    learned = rhythm(gaps, kind=kind)
    at = learned.suspect_at(15.0)

    assert learned.phi(at, 15.0) == pytest.approx(PHI, abs=0.01)
    assert learned.phi(at + 1e9, 15.0) == 300.0


@given(st.lists(st.floats(0.9, 1.1), min_size=2, max_size=100), PACES, PACES)
def test_another_pace_makes_nobody_suspect(shares: list[float], before: float, after: float):
    """The node has said so with its answer to the last renewal, so the next comes by the new pace."""
    learned = rhythm([before + share - 1.0 for share in shares], before)

    assert learned.suspect_at(after) >= learned.heard_at + min(after + DEVIATIONS * 0.5, HEARTBEATS_MAX * after) - 1e-6


# Whom to look at.


def session(now: float = 0.0, heartbeat_s: float = 5.0) -> Session:
    """Return the node's end of an open conversation."""
    ours, theirs = Session(GALAXY, now=now), Session(DEVICE, now=now)
    for ours_says, theirs_says in (
        (Challenge("g", "n", 1, 1), Hello("laptop", "", 1, "boot", Profile(Kind.SERVER, 1, ()))),
        (Welcome("s", False, 0, heartbeat_s, 8, ""), None),
    ):
        ours.send(ours_says)
        for frame in ours.frames_to_send(now):
            theirs.receive(frame, now)
        if theirs_says:
            theirs.send(theirs_says)
            for frame in theirs.frames_to_send(now):
                ours.receive(frame, now)
    return ours


def watched(watch: Watch, name: str = "laptop", now: float = 0.0, kind: Kind = Kind.SERVER) -> Watched:
    one = Watched(name, kind, session(now), now)
    watch.add(one, now)
    return one


def speaks(watch: Watch, one: Watched, at: float) -> bool:
    one.session.heard_at = at
    return watch.heard(one)


SUSPECT_S = 5.0 + DEVIATIONS * 0.5


def test_a_silent_device_is_suspected_once_and_trusted_when_it_speaks():
    watch = Watch()
    one = watched(watch)

    assert watch.next() == pytest.approx(SUSPECT_S)
    assert watch.due(SUSPECT_S - 0.01) == []
    assert watch.due(SUSPECT_S + 0.01) == [one]
    assert (watch.due(1e9), watch.next()) == ([], None)
    assert speaks(watch, one, 12.0)
    assert not speaks(watch, one, 12.0)
    assert watch.due(watch.next() or inf) == [one]


def test_a_frame_moves_no_deadline_and_the_next_look_does():
    watch = Watch()
    one = watched(watch)
    for at in range(1, 8):
        speaks(watch, one, float(at))
    assert watch.next() == pytest.approx(SUSPECT_S)

    assert watch.due(SUSPECT_S) == []
    assert watch.next() == pytest.approx(7.0 + SUSPECT_S)


def test_who_is_gone_is_not_suspected_and_who_is_back_begins_anew():
    watch = Watch()
    earlier = watched(watch)
    for n in range(20):
        speaks(watch, earlier, n * 7.0)
    one = watched(watch, now=140.0)
    watch.remove(earlier)

    assert [*watch] == [one]
    assert watch.next() == pytest.approx(140.0 + SUSPECT_S)
    watch.remove(one)
    assert (len(watch), watch.due(1e9)) == (0, [])


def test_a_link_that_is_over_makes_nobody_trusted():
    watch = Watch()
    earlier = watched(watch)
    assert watch.due(SUSPECT_S) == [earlier]
    watch.remove(earlier)
    watched(watch, now=9.0)

    assert not speaks(watch, earlier, 10.0)


def test_nobody_is_suspected_while_the_node_itself_was_held_up():
    """What devices said meanwhile is there to be read."""
    watch = Watch()
    one, other = watched(watch), watched(watch, "tower")
    late = SUSPECT_S + LATE_S + 0.1

    assert watch.due(late) == []
    speaks(watch, one, late + 0.1)
    assert watch.due(late + LISTEN_S) == [other]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.0, 4.0)), max_size=60))
def test_who_speaks_in_time_is_never_suspected_and_who_does_not_always_is(steps: list[tuple[str, float]]):
    watch, now = Watch(), 0.0
    devices = {name: watched(watch, name) for name in "abc"}
    for name, after in steps:
        target = now + after
        while (at := watch.next()) is not None and at <= target:
            for one in watch.due(at):
                assert one.suspect_at <= at
        now = target
        was = devices[name].suspected
        assert speaks(watch, devices[name], now) is was

    for one in devices.values():
        assert one.suspected == (now >= one.suspect_at)


def test_a_renewal_that_the_session_hears_is_a_sign_of_life():
    watch = Watch()
    one = watched(watch)
    device = Session(DEVICE, now=0.0)
    device.state = one.session.state
    device.send(Renew(1.0))
    (frame,) = device.frames_to_send(3.0)
    one.session.receive(frame, 3.0)
    watch.heard(one)

    assert one.rhythm.heard_at == 3.0


# How often.


def test_the_heartbeat_grows_with_the_fleet_and_stays_within_its_bounds():
    told, paces = 5.0, []
    for devices in range(0, 20_000, 10):
        told = heartbeat_for(devices, 5.0, told)
        assert devices / told <= HEARTBEATS_PER_S or told == HEARTBEAT_MAX_S
        paces.append(told)

    assert (paces[0], paces[-1]) == (5.0, HEARTBEAT_MAX_S)
    assert all(one <= other for one, other in pairwise(paces))
    assert len(set(paces)) < 12, "a change is told to everybody"


def test_the_heartbeat_comes_back_when_the_fleet_shrinks():
    told = HEARTBEAT_MAX_S
    for devices in range(20_000, -1, -10):
        told = heartbeat_for(devices, 5.0, told)

    assert told == 5.0


def test_a_heartbeat_that_was_asked_for_is_never_made_shorter():
    assert heartbeat_for(0, 60.0, 60.0) == heartbeat_for(100_000, 60.0, 60.0) == 60.0


def test_a_few_devices_that_come_and_go_change_nothing():
    told = heartbeat_for(1_500, 5.0, 5.0)

    assert {heartbeat_for(devices, 5.0, told) for devices in range(1_300, 1_700, 7)} == {told}
