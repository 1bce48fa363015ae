"""kill -9 of the node and of agents at random moments: nothing is lost, and nothing happens twice."""

import pytest

from nebulabench.checkers import lost, violations
from nebulabench.soak import soaked


@pytest.mark.timeout(240)
def test_two_hundred_effects_survive_random_kills_of_the_node_and_its_agents():
    found = soaked(seed=20, stars=200, kills=8, call_s=0.4)

    assert found.violations == []
    assert sum(found.kills.values()) == 8
    assert found.kills["node"] == 4
    assert len(found.stars) == 200


LEASED = {"seq": 1, "kind": "star_leased", "star": "a", "attempt": 1, "device": "desk", "effect": "once"}
REPORTED = {"seq": 2, "kind": "star_reported", "star": "a", "attempt": 1, "device": "desk", "outcome": "succeeded"}


def test_the_checkers_find_nothing_in_a_run_that_went_well():
    assert violations([LEASED, REPORTED], {"a": "succeeded"}, ["a"]) == []


@pytest.mark.parametrize(
    ("events", "stars", "effects", "found"),
    [
        ([LEASED, REPORTED], {"a": "succeeded"}, ["a", "a"], "a took effect 2 times"),
        ([LEASED, REPORTED], {"a": "succeeded"}, [], "a succeeded and took effect 0 times"),
        ([LEASED, LEASED | {"seq": 2}], {"a": "failed"}, [], "a#1 was leased twice"),
        ([LEASED, REPORTED | {"device": "rig"}], {"a": "failed"}, [], "a#1 was ended by rig, held by desk"),
        ([LEASED, REPORTED, REPORTED | {"seq": 3}], {"a": "failed"}, [], "a#1 ended twice"),
        ([LEASED, REPORTED | {"seq": 3}], {"a": "failed"}, [], "event 2 is missing"),
        ([LEASED], {"a": "running"}, [], "a is running, and the constellation has ended"),
        ([LEASED, REPORTED, LEASED | {"seq": 3, "attempt": 2}], {"a": "failed"}, [], "after a had succeeded"),
    ],
)
def test_the_checkers_find_each_kind_of_breach_that_is_shown_to_them(events, stars, effects, found):
    assert any(found in violation for violation in violations(events, stars, effects))


def test_the_checkers_find_an_event_that_was_shown_and_then_lost_or_changed():
    assert lost([LEASED, REPORTED], [LEASED]) == ["event 2 (star_reported) was lost"]
    assert lost([LEASED], [LEASED | {"device": "rig"}]) == ["event 1 (star_leased) was lost"]
