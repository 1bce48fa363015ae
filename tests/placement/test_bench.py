"""Placement against its baselines: fewer fleets than `nebulabench placement` plays, and the same demands."""

import json

import pytest
from typer.testing import CliRunner

from galaxy.core.placement import demand, placer
from galaxy.core.placement.policies import POLICIES
from nebulabench.__main__ import app
from nebulabench.placement.instance import Graph, Instance, Machine, Work, instance
from nebulabench.placement.limits import judged, limits
from nebulabench.placement.offline import bound, heft
from nebulabench.placement.play import Play
from nebulabench.placement.table import summary


def small() -> tuple[Instance, Graph]:
    """Two stars, one behind the other, on a quick device and a slow one; moving the result takes 5 s."""
    stars = {"a": Work("a", "t", 1.0, 5_000), "b": Work("b", "u", 1.0, 0, ["a"])}
    machines = {
        "quick": Machine("quick", 1, 1e3, {"t": 1.0, "u": 9.0}),
        "slow": Machine("slow", 1, 1e3, {"t": 2.0, "u": 1.0}),
    }
    graph = Graph(stars, 0.5)
    return Instance(0, machines, {"t": 10.0, "u": 10.0}, [graph]), graph


def test_offline_heft_and_the_bound_are_what_one_works_out_by_hand():
    made, graph = small()

    assert heft(made, graph) == 25.0, "10 on the quick one, 5 to move, 10 on the slow one"
    assert bound(made, graph) == 20.0


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_quicker_than_the_bound_and_a_seed_replays(seed: int):
    made = instance(seed, 2)
    first, again = (Play(instance(seed, 2), "heft") for _ in range(2))

    for graph in made.graphs:
        took = first.makespan(graph)
        assert again.makespan(graph) == took
        assert min(took, heft(made, graph)) >= bound(made, graph)


def test_the_default_comes_close_to_a_plan_that_knows_all_and_beats_taking_turns():
    ran = CliRunner().invoke(app, ["placement", "--seeds", "10", "--json"])

    assert ran.exit_code == 0, ran.output
    shown = json.loads(ran.stdout)
    last = shown["last"]
    assert shown["limits"]["broken"] == []
    assert last["heft"] < 1.10
    assert last["heft"] < 0.70 * last["round_robin"]
    assert last["bound"] < last["heft"]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_breaks_the_limits_of_a_battery_a_network_or_a_person(policy: str):
    found = limits(judged(seed, policy) for seed in range(2))

    assert found["broken"] == []
    assert found["tempted"] > 100


@pytest.mark.parametrize(
    ("limit", "value", "why"), [("BATTERY_MIN", 0.0, "battery"), ("METERED_BYTES_MAX", 10**18, "costs")]
)
def test_a_limit_that_is_not_kept_is_seen(monkeypatch: pytest.MonkeyPatch, limit: str, value: float, why: str):
    for module in (demand, placer):
        monkeypatch.setattr(module, limit, value, raising=False)
    found = limits(judged(seed, "heft") for seed in range(4))

    assert any(why in each["why"] for each in found["broken"])


def test_a_summary_weighs_each_constellation_alike():
    row = {
        "offline": 10.0,
        "bound": 5.0,
        "heft": 11.0,
        "fastest_start": 20.0,
        "least_loaded": 20.0,
        "round_robin": 40.0,
    }
    long = {way: 100 * seconds for way, seconds in row.items()} | {"heft": 900.0}

    assert summary([(0.1, [row]), (1.0, [long])])["last"]["heft"] == 1.0
