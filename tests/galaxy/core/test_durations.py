"""What is learned of how long calls take, and what a galaxy does with it when it places stars."""

import re
from random import Random

import msgspec
import pytest
from msgspec import Raw

from galaxy.core.binding import bindings_in
from galaxy.core.events import DeviceVitals, StarLeased
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.placement.durations import GUESS_S, SHORT_S, Durations
from galaxy.core.placement.policies import POLICIES
from galaxy.core.placement.timeline import OVERDUE, Timeline, Under
from galaxy.core.star import Needs, Star
from protocol.vocabulary import Effect, Vitals

from .helpers import Log, device, done, line, reloaded, report, star, submit, told


def learned(chance: Random, bases: dict[str, float], factors: dict[str, float], runs: int) -> Durations:
    found = Durations()
    for _ in range(runs):
        tool, name = chance.choice(list(bases)), chance.choice(list(factors))
        found.learn(tool, name, bases[tool] * factors[name] * chance.lognormvariate(0.0, 0.1))
    return found


def test_a_tool_that_nobody_has_seen_is_guessed_by_the_others():
    found = Durations()
    assert found.mean_s("a") == found.expected_s("a", "d") == GUESS_S
    found.learn("b", "d", 30.0)
    assert found.expected_s("a", "d") == pytest.approx(30.0)


def test_a_device_that_is_slow_with_two_tools_is_expected_to_be_slow_with_a_third():
    found = Durations()
    for _ in range(10):
        for tool, seconds in (("a", 2.0), ("b", 20.0)):
            found.learn(tool, "quick", seconds)
            found.learn(tool, "slow", 4 * seconds)
        found.learn("c", "quick", 7.0)

    assert found.expected_s("c", "slow") > 2.5 * found.expected_s("c", "quick")


@pytest.mark.parametrize("seed", range(5))
def test_what_is_expected_comes_close_to_what_is(seed: int):
    bases, factors = {"a": 1.0, "b": 10.0, "c": 60.0}, {"d1": 0.3, "d2": 1.0, "d3": 4.0}
    found = learned(Random(seed), bases, factors, 150)

    for tool, base in bases.items():
        for name, factor in factors.items():
            assert found.expected_s(tool, name) == pytest.approx(base * factor, rel=0.35)


def test_calls_that_are_short_are_not_weighed_and_lies_do_no_harm():
    found = Durations()
    found.learn("a", "d", SHORT_S / 10)
    found.learn("b", "d", -1e300)
    found.learn("b", "d", 1e300)

    assert (found.matter("a"), found.matter("none")) == (False, False)
    assert 0.0 < found.expected_s("b", "d") < 1e9


def test_a_timeline_frees_slots_as_runs_end_and_keeps_promises():
    under = {"d": [Under(0.0, 10.0), Under(4.0, 10.0)], "e": [Under(0.0, 1.0)], "f": [Under(0.0, 9.0)] * 3}
    found = Timeline(6.0, lambda name: under[name], {"d": 2, "e": 1, "f": 2}.__getitem__)

    assert found.starts_in_s("d") == 4.0
    found.promise("d", 3.0)
    assert found.starts_in_s("d") == 7.0
    assert found.starts_in_s("e") == 6.0 * OVERDUE, "what has overrun is likely to go on"
    assert found.starts_in_s("f") == 3.0, "it holds more than it has slots"


# On the core.

QUICK_S, SLOW_S = 10.0, 100.0


def knowing(stars: int = 0, policy: str = "heft") -> Log:
    """A quick and a slow device of one slot each, whose calls of `shell` are known; and so many stars since 1000 s."""
    log = Log()
    log.core = Orchestrator(POLICIES[policy]())
    log.feed(*device("quick"), *device("slow"))
    at = 1.0
    for n in range(6):
        pinned = (star(name, needs=Needs(device=name)) for name in ("quick", "slow"))
        orders = log.feed(submit(*pinned, c=f"known{n}", at=at))
        at += SLOW_S
        log.feed(*(_ended(str(o.attempt), at, o.device) for o in sorted(orders, key=lambda o: o.device)))
    if stars:
        log.feed(submit(*(star(f"s{n}") for n in range(stars)), at=1000.0))
    return log


def _ended(attempt: str, at: float, by: str):
    return report(attempt, at=at, by=by, ran_s=QUICK_S if by == "quick" else SLOW_S)


def leased(log: Log) -> dict[str, str]:
    return {event.star: event.device for event in log.of(StarLeased) if event.constellation == "c"}


def test_a_star_waits_for_a_quick_device_while_a_slow_one_is_free_and_says_so():
    log = knowing(3)

    assert leased(log) == {"s0": "quick"}
    words = (
        "it is kept for quick, which is full and expected to be done with it in .* s; slow is free and would take .* s"
    )
    assert re.fullmatch(words, log.why("s1"))
    assert told(log.feed(_ended("c/s0#1", 1010.0, "quick"))) == ["dispatch c/s1#1 to quick"]


def test_a_slow_device_helps_when_the_queue_before_the_quick_one_is_long():
    log = knowing(12)

    assert [star for star, name in leased(log).items() if name == "slow"] == ["s9"], "the tenth would wait for 90 s"


def test_nobody_waits_for_ever_for_a_quick_device_that_hangs():
    log = knowing(2)
    log.wait(1500.0)

    assert leased(log) == {"s0": "quick", "s1": "slow"}
    assert 0.0 < log.of(StarLeased)[-1].waited_s < 2 * SLOW_S


@pytest.mark.parametrize("policy", ["fastest_start", "least_loaded", "round_robin"])
def test_the_other_policies_let_no_star_wait_while_a_device_is_free(policy: str):
    log = knowing(3, policy)

    assert sorted(leased(log).values()) == ["quick", "slow"]


def test_round_robin_gives_each_device_its_turn_and_least_loaded_looks_at_shares():
    for policy, wanted in (("round_robin", ["a", "b", "a", "b"]), ("least_loaded", ["b", "a", "b", "b"])):
        log = Log()
        log.core = Orchestrator(POLICIES[policy]())
        log.feed(*device("a", slots=2), *device("b", slots=8), submit(*(star(f"s{n}") for n in range(4))))
        assert [event.device for event in log.of(StarLeased)] == wanted, policy


def test_what_was_learned_in_open_constellations_is_known_after_a_restart():
    log = Log()
    log.feed(*device("quick"), *device("slow"), submit(star("a"), star("b"), star("z"), line("a>z"), line("b>z")))
    for one in log.of(StarLeased):
        log.feed(_ended(f"c/{one.star}#1", 101.0, one.device))
    before, after = log.core.placer.weighing.durations, reloaded(log).core.placer.weighing.durations

    assert (before.runs, after.runs) == (2, 2)
    assert after.expected_s("shell", "slow") > after.expected_s("shell", "quick")


def test_a_star_goes_to_where_its_inputs_are_unless_moving_them_pays():
    arguments = {"x": {"$from": "a", "pointer": "/made"}}
    bound = Star("b", "shell", Raw(msgspec.json.encode(arguments)), bindings=bindings_in(arguments))
    log = Log()
    log.feed(
        *device("here"), *device("there"), DeviceVitals(at=0.0, device="there", vitals=Vitals(link_bytes_per_s=1e6))
    )
    log.feed(submit(star("a"), bound, line("a>b")))
    made = {"made": {"$artifact": "0" * 64, "bytes": 30_000_000}}
    log.feed(submit(star("other"), c="d", at=1.0), done("d/other#1", 2.0, by="there"))
    log.feed(done("c/a#1", 2.0, by="here", result=made))

    candidates = log.of(StarLeased)[-1].candidates
    assert [(c.device, c.moves_s) for c in candidates] == [("here", 0.0), ("there", 30.0)]


# What a device's vitals forbid.


def vitals(at: float = 0.5, name: str = "laptop", **more: object) -> DeviceVitals:
    return DeviceVitals(at=at, device=name, vitals=Vitals(**more))


def test_a_device_with_an_empty_battery_gets_nothing_new_until_it_is_charged():
    log = Log()
    log.feed(*device(), vitals(battery=0.14, charging=False), submit(star("a")))
    assert log.why("a") == "no device is able: laptop: its battery is at 14% and it is not charging"

    assert told(log.feed(vitals(2.0, battery=0.14, charging=True))) == ["dispatch c/a#1 to laptop"]


def test_an_interactive_call_leaves_a_person_alone():
    log = Log()
    log.feed(*device(effect=Effect.INTERACTIVE), vitals(in_use=True), submit(star("a")))
    log.feed(submit(star("b", effects=Effect.INTERACTIVE), c="d"))
    assert log.why("a") == "no device is able: laptop: a person is using it, and the call is interactive"
    assert log.why("b", "d") == log.why("a")

    assert told(log.feed(vitals(2.0, in_use=False)))[0] == "dispatch c/a#1 to laptop"


def test_large_inputs_do_not_go_over_a_network_that_costs_by_the_byte():
    arguments = {"x": {"$from": "a", "pointer": "/made"}}
    bound = Star("b", "camera", Raw(msgspec.json.encode(arguments)), bindings=bindings_in(arguments))
    for size, wanted in ((10_000_000, ""), (10_000_001, "no device is able")):
        log = Log()
        log.feed(*device(), *device("phone", tools=("camera",)), vitals(name="phone", metered=True))
        log.feed(submit(star("a"), bound, line("a>b")))
        log.feed(done("c/a#1", 2.0, result={"made": {"$artifact": "0" * 64, "bytes": size}}))
        assert log.why("b").startswith(wanted)
        assert bool(log.why("b")) == bool(wanted)
