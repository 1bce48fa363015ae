"""Which device for which star, in which order, and the words for why."""

import pytest

from galaxy.core.attempt import Candidate
from galaxy.core.events import StarFailed, StarLeased
from galaxy.core.placement import demand, ready
from galaxy.core.placement.demand import Demand
from galaxy.core.placement.fastest_start import FastestStart
from galaxy.core.placement.policy import EXPLAINED_MAX
from galaxy.core.placement.ready import ReadyQueue
from galaxy.core.star import Needs, Timeouts, When
from galaxy.core.timers import SLACK, Timers

from .helpers import (
    Log,
    cancel,
    connect,
    device,
    done,
    fail,
    line,
    pause,
    profile,
    report,
    resume,
    star,
    submit,
    told,
)

SHELL = Demand(frozenset({"shell"}))

# Which device.


def test_the_device_that_can_start_now_and_is_least_busy_is_taken():
    found = (("full", 3.0, 2, 2), ("busy", 0.0, 1, 2), ("idle", 0.0, 0, 1), ("also", 0.0, 0, 9), ("none", 6.0, 0, 0))
    candidates = [Candidate(*one) for one in found]
    FastestStart().rank(candidates)

    assert candidates == [
        Candidate("also", 0.0, 0, 9),
        Candidate("idle", 0.0, 0, 1),
        Candidate("busy", 0.0, 1, 2),
        Candidate("full", 3.0, 2, 2),
        Candidate("none", 6.0, 0, 0),
    ]


def test_the_reasons_for_a_placement_are_kept_with_the_attempt():
    log = Log()
    log.feed(
        *device(slots=2), *device("tower", slots=4), *device("phone", tools=("camera",)), submit(star("a"), star("b"))
    )

    first, second = log.of(StarLeased)
    assert first.candidates == (Candidate("laptop", 0.0, 0, 2), Candidate("tower", 0.0, 0, 4))
    assert second.candidates == (Candidate("tower", 0.0, 0, 4), Candidate("laptop", 0.0, 1, 2))
    assert first.refused == {"phone": "it has no tool shell"}
    assert (log.course("a").attempts[0].candidates, log.course("a").attempts[0].refused) == (
        first.candidates,
        first.refused,
    )


def test_only_so_many_reasons_are_kept_however_large_the_fleet():
    log = Log()
    for n in range(20):
        log.feed(*device(f"d{n}"), *device(f"x{n}", tools=()))
    log.feed(submit(star("a")))

    (leased,) = log.of(StarLeased)
    assert (len(leased.candidates), len(leased.refused)) == (EXPLAINED_MAX, EXPLAINED_MAX)


def test_every_obstacle_has_its_words():
    log = Log()
    log.feed(*device(), *device("tower", tools=("shell", "gpu")), *device("away", at=0.0))
    log.feed(submit(star("a", needs=Needs(tools=("gpu", "net"), labels={"os": "linux", "room": "attic"}))))

    assert log.why("a").startswith(
        "no device is able: laptop: it has no tool gpu, net; tower: it has no tool net; away"
    )
    log.feed(connect("tower", 1.0, profile=profile(1, ("shell", "gpu", "net"), os="linux")))
    wait = log.core.explained(log.core.constellations["c"], log.core.constellations["c"].courses["a"])
    assert wait.refused["tower"] == "it has no label room=attic"


def test_a_star_that_waits_for_room_knows_how_long_it_may_take():
    log = Log()
    log.feed(*device(), submit(star("a"), star("b"), star("z"), line("b>z")), report("c/b#1", at=20.0, ran_s=20.0))
    constellation = log.core.constellations["c"]
    log.feed(submit(star("o"), c="d", at=21.0))

    wait = log.core.explained(log.core.constellations["d"], log.core.constellations["d"].courses["o"])
    assert (wait.reason, wait.candidates) == ("every able device is full", (Candidate("laptop", 20.0, 1, 1),))
    assert log.core.explained(constellation, constellation.courses["b"]) is None
    assert log.core.explained(constellation, constellation.courses["a"]) is None


def test_what_a_star_waits_for_is_named_but_not_without_end():
    log = Log()
    names = [f"s{n}" for n in range(9)]
    log.feed(submit(*map(star, names), star("z"), *(line(f"{name}>z") for name in names)))

    assert log.why("z") == "it waits for s0, s1, s2, s3, s4 and 4 more"


def test_a_device_that_lies_about_its_times_does_not_stop_the_others():
    """A negative duration would make a full device look as if it could start earlier than now."""
    log = Log()
    log.feed(*device(), *device("tower"), submit(star("a"), star("b"), star("o"), star("p")))
    log.feed(report("c/a#1", ran_s=-1e9))

    assert told(log.feed(done("c/b#1", 2.0, by="tower"))) == ["dispatch c/p#1 to tower"]


def test_feasibility_is_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr("galaxy.core.placement.placer.FEASIBLE_MAX", 10)
    log = Log()
    log.feed(*device(slots=100), submit(*(star(f"s{n}", needs=Needs(device=f"d{n}")) for n in range(50))))

    assert len(log.core.placer._feasible) <= 10
    for n in range(1_100):
        demand._only(f"tool{n}")
    assert len(demand._SINGLE) <= 1_001


# In which order.


def test_first_come_is_first_served_among_equals():
    log = Log()
    for n in range(6):
        log.feed(submit(star("a"), c=f"c{n}", at=float(n)))
    log.feed(*device(at=10.0))
    for n in range(6):
        log.feed(done(f"c{n}/a#1", 11.0 + n))

    assert [leased.constellation for leased in log.of(StarLeased)] == [f"c{n}" for n in range(6)]


def test_a_higher_priority_goes_first_and_no_one_is_stopped_for_it():
    log = Log()
    log.feed(*device(), submit(star("run"), star("low", priority=-1), star("mid")))
    log.feed(submit(star("high", priority=5), c="d", at=1.0))

    assert log.states() == {"run": "leased", "low": "ready", "mid": "ready"}
    assert told(log.feed(done("c/run#1", 2.0))) == ["dispatch d/high#1 to laptop"]
    assert told(log.feed(done("d/high#1", 3.0))) == ["dispatch c/mid#1 to laptop"]


def test_a_star_that_cannot_be_placed_does_not_hold_up_those_behind_it():
    log = Log()
    log.feed(submit(star("gpu", tool="gpu", priority=9), star("pinned", needs=Needs(device="nova")), star("a")))

    assert told(log.feed(*device(at=1.0))) == ["dispatch c/a#1 to laptop"]


def test_what_becomes_ready_while_others_are_placed_takes_its_turn_and_nobody_is_lost():
    """`b` fails when it is to be placed, which makes `f` ready: before `a`, though `a` was next."""
    log = Log()
    broken = star("b", tool="net", priority=5, arguments={"x": {"$from": "s", "pointer": "/nova"}})
    handler = star("f", priority=9)
    log.feed(
        *device("first", tools=("seed",)),
        submit(star("s", tool="seed"), broken, handler, star("a"), line("b>f", When.FAILURE)),
    )
    log.feed(done("c/s#1", 1.0, by="first", result={}))

    orders = log.feed(*device("both", at=2.0, tools=("net", "shell"), slots=1))
    assert told(orders) == ["dispatch c/f#1 to both"]
    assert told(log.feed(done("c/f#1", 3.0, by="both"))) == ["dispatch c/a#1 to both"]
    assert [failed.star for failed in log.of(StarFailed)] == ["b"]


# The queue itself.


def filled(valid=lambda place: True) -> ReadyQueue:
    queue = ReadyQueue(valid)
    for n in range(5):
        queue.put(SHELL, "c", f"s{n}", 0, float(n))
    return queue


def test_a_place_that_has_lapsed_is_passed_over():
    queue = filled(valid=lambda place: place.star != "s1")
    queue.forget("c", "s0")
    place, found = queue.round().next()

    assert (place.star, found) == ("s2", SHELL)
    assert ("c", "s0") not in queue
    assert ("c", "s2") in queue


def test_an_empty_queue_has_nobody_to_serve():
    queue = ReadyQueue(lambda place: True)
    assert (queue.round().next(), queue.head(SHELL), len(queue), queue.demands()) == (None, None, 0, [])


def test_places_that_have_lapsed_are_swept_and_do_not_pile_up(monkeypatch):
    monkeypatch.setattr(ready, "SLACK", 10)
    queue = filled()
    for _ in range(100):
        for n in range(1, 5):
            queue.put(SHELL, "c", f"s{n}", 0, 1.0)
        queue.put(Demand(frozenset({"gpu"})), "c", "gone", 0, 1.0)
        queue.forget("c", "gone")

    assert sum(len(own) for w in queue._queues.values() for own in w.own.values()) == queue._places < 40
    assert queue.head(SHELL)[1].star == "s0"


def test_what_has_ended_leaves_nothing_behind():
    """However much work comes and goes behind a star that nobody can do."""
    log = Log()
    log.feed(submit(star("stuck", tool="gpu", timeouts=Timeouts(queue_s=0.0)), c="stuck"))
    for n in range(2_000):
        log.feed(submit(star("a", tool="gpu"), c=f"c{n}", at=float(n)), cancel(float(n), c=f"c{n}"))
    log.feed(*device(at=3_000.0, tools=("shell",), slots=4))
    for n in range(500):
        log.feed(submit(star("a"), star("b"), line("a>b"), c=f"d{n}", at=3_000.0 + n))
        log.feed(done(f"d{n}/a#1", 3_000.5 + n), fail(f"d{n}/b#1", 3_000.6 + n))

    core = log.core
    assert list(core.constellations) == ["stuck"]
    assert len(core.placer._queue) == 1
    assert core.placer._queue._places <= 2 * len(core.placer._queue) + ready.SLACK + 2
    assert len(core._timers._heap) <= 2 * len(core._timers._at) + SLACK + 1
    assert not core._timers._at
    assert [len(index) for index in (core._ending, core._proofs, core._judged, core.leases._lapsed)] == [0] * 4
    assert core.placer.held == {"laptop": {}}


def test_stars_of_a_paused_constellation_come_back_in_their_order():
    log = Log()
    log.feed(submit(star("a"), star("b"), star("z")), pause(1.0), *device(at=2.0), submit(star("o"), c="d", at=3.0))
    log.feed(done("d/o#1", 4.0), resume(5.0))
    for n, name in enumerate("ab"):
        log.feed(done(f"c/{name}#1", 6.0 + n))

    assert [leased.star for leased in log.of(StarLeased)] == ["o", "a", "b", "z"]


# Deadlines.


def test_timers_are_popped_in_order_and_can_be_moved_and_cleared():
    timers: Timers[str] = Timers()
    for name, at in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("b", 4.0), ("d", 9.0)):
        timers.set(name, at)
    timers.clear("c")
    timers.clear("nobody")

    assert timers.next() == 3.0
    assert [timers.pop_due(5.0) for _ in range(3)] == ["a", "b", None]
    assert timers.next() == 9.0


@pytest.mark.parametrize("times", [5_000])
def test_a_timer_that_is_moved_often_does_not_grow(times):
    timers: Timers[str] = Timers()
    for n in range(times):
        timers.set("a", float(n))

    assert len(timers._heap) <= SLACK + 3
    assert timers.pop_due(1e9) == "a"
    assert timers.next() is None
