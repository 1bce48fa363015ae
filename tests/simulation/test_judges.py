"""Each judge sees its own rule broken in a history made by hand."""

from typing import Any

import msgspec
import pytest

from galaxy.store.contract import Row
from nebulabench.world.history import Effect, History, Run, Told
from nebulabench.world.judges import violations
from nebulabench.world.plan import DevicePlan, Plan

PLAN = Plan(1, "mild", 5.0, (DevicePlan("d1", 1),), (), (), (), 100.0)


def history(*events: dict[str, Any]) -> History:
    """Return what was recorded, an event each second; those of a stream are numbered unless they say otherwise."""
    found = History(lambda: 100.0)
    seqs: dict[str, int] = {}
    for at, event in enumerate(events, 1):
        stream = event.pop("stream", "c")
        seqs[stream] = event.pop("seq", seqs.get(stream, 0) + 1)
        found.commits.append((float(at), Row(stream, seqs[stream], event["kind"], 0.0, msgspec.json.encode(event))))
    return found


def submitted(**policy: float) -> dict[str, Any]:
    return {"kind": "constellation_submitted", "stars": [{"id": "a", "disconnect": policy}]}


def leased(number: int = 1, effect: str = "once", **more: Any) -> dict[str, Any]:
    return {"kind": "star_leased", "star": "a", "attempt": number, "device": "d1", "effect": effect, **more}


def reported(number: int = 1, outcome: str = "succeeded", device: str = "d1") -> dict[str, Any]:
    return {"kind": "star_reported", "star": "a", "attempt": number, "device": device, "outcome": outcome}


def lost(number: int = 1) -> dict[str, Any]:
    return {"kind": "lease_ended", "star": "a", "attempt": number, "device": "d1", "cause": "lost"}


def acted(at: float, number: int = 1, effect: str = "once") -> Effect:
    return Effect(at, f"c/a#{number}", "c/a", effect, "d1")


def test_a_history_in_which_all_is_right_breaks_nothing():
    found = history(submitted(), leased(), reported(), {"kind": "constellation_ended", "state": "succeeded"})
    found.effects.append(acted(2.5))
    found.told.append(Told(2.0, "c", "submitted", ""))

    assert violations(PLAN, found) == []


def test_what_a_star_did_as_a_pure_call_does_not_count_once_a_person_has_made_it_another():
    failed, again = reported(outcome="failed"), [leased(2), reported(2)]
    edited = {"kind": "constellation_edited", "base": 1, "edit": {"operations": []}}
    found = history(submitted(), leased(effect="pure"), failed, edited, *again)
    found.effects += [acted(2.5, effect="pure"), acted(5.5, 2)]

    assert violations(PLAN, found) == []


@pytest.mark.parametrize(
    ("events", "effects", "words"),
    [
        ([submitted(), {**leased(), "seq": 3}], [], "numbered"),
        ([submitted(), leased(), leased()], [], "leased twice"),
        ([submitted(), leased(), reported(device="d2")], [acted(2.5)], "ended by d2"),
        ([submitted(), leased(), reported(), reported()], [acted(2.5)], "ended twice"),
        ([submitted(), leased(), reported()], [], "succeeded, and nothing happened"),
        ([submitted(), leased(), reported()], [acted(2.4), acted(2.5)], "happened 2 times"),
        ([submitted()], [acted(2.5)], "was never given out"),
        ([submitted(), leased()], [acted(1.5)], "before it was durable"),
        (
            [submitted(), leased(effect="x"), lost(), leased(2, "x")],
            [acted(4.5, effect="x")],
            "after c/a#2 was given out",
        ),
        ([submitted(), leased(), leased(2)], [], "and has 1 slots"),
        (
            [submitted(), leased(), lost(), {"kind": "constellation_ended", "state": "failed"}],
            [acted(5.0)],
            "after its constellation had failed",
        ),
        ([submitted(), {"kind": "constellation_ended", "state": "failed"}, leased()], [], "after its end"),
        ([submitted(), {"kind": "constellation_edited", "base": 2, "edit": {"operations": [{}]}}], [], "revision 2"),
    ],
)
def test_a_broken_rule_is_told_in_words(events, effects, words):
    found = history(*events)
    found.effects += effects

    assert any(words in told for told in violations(PLAN, found)), violations(PLAN, found)


def test_what_was_acknowledged_and_is_not_recorded_is_lost():
    found = history(submitted())
    found.told += [Told(0.5, "c", "submitted", ""), Told(3.0, "c", "pause", "deed-1")]

    first, second = violations(PLAN, found)
    assert "submitted of c was acknowledged at 0.500" in first
    assert "pause of c was acknowledged" in second


def test_a_report_that_is_dropped_before_it_is_recorded_is_lost():
    found = history(submitted(), leased(), reported())
    found.effects.append(acted(2.5))
    found.dropped.append((2.8, "d1", "c/a#1"))

    assert violations(PLAN, found) == ["d1 dropped its report of c/a#1 at 2.800, before that was recorded"]


@pytest.mark.parametrize(("ended_at", "broken"), [(22.5, False), (25.0, True)])
def test_a_call_that_runs_on_long_after_galaxy_was_heard_is_an_orphan(ended_at, broken):
    found = history(submitted(stop_after_s=10.0), leased())
    found.runs.append(Run("c/a#1", "Act", "once", "d1", "d1.1", 3.0, ended_at))
    found.heard["d1"] = [3.0, 12.0]

    assert bool(violations(PLAN, found)) == broken


def test_what_a_device_ran_that_was_frozen_may_end_when_it_is_thawed():
    found = history(submitted(stop_after_s=10.0), leased())
    found.runs.append(Run("c/a#1", "Act", "once", "d1", "d1.1", 3.0, 60.1))
    found.asleep["d1"] = [(5.0, 60.0)]

    assert violations(PLAN, found) == []
