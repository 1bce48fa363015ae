"""What a cell's verdict says of a story told by hand: all is well, and each rule broken once."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from nebulabench.cluster.matrix import named
from nebulabench.cluster.run import Run, Verdict
from nebulabench.cluster.story import Story

pytestmark = pytest.mark.asyncio

EFFECTS = {"sure": "once", "blind": "once", "plain": "idempotent", "last": "pure"}
CUT, KILLED = "reset/mid-effect", "agent-kill/mid-effect"

Events = list[dict[str, Any]]


class Told:
    """A story that has ended: what was recorded, the picture, and what stands in the files."""

    def __init__(self) -> None:
        self.recorded: Events = [{"kind": "constellation_submitted"}]
        for star in EFFECTS:
            self.recorded += [lease(star, effect=EFFECTS[star]), report(star)]
        self.recorded.append({"kind": "constellation_ended", "state": "succeeded"})
        self.seen: Events = []
        self.stars = [
            {"id": star, "state": "succeeded", "failure": None, "attempts": [attempt("succeeded")]} for star in EFFECTS
        ]
        self.files = {"effects": ["sure", "blind"], "again": ["plain"]}

    def numbered(self) -> "Told":
        for seq, event in enumerate(self.recorded, 1):
            event.setdefault("seq", seq)
        self.seen = self.seen or [dict(event) for event in self.recorded]
        return self

    def star(self, name: str) -> dict[str, Any]:
        return next(star for star in self.stars if star["id"] == name)

    def fails(self, name: str, code: str) -> None:
        self.star(name).update(state="failed", failure={"code": code}, attempts=[attempt("unknown")])
        next(e for e in self.recorded if e.get("star") == name and e["kind"] == "star_reported")["outcome"] = "unknown"

    async def events(self) -> Events:
        return self.recorded

    async def picture(self) -> dict[str, Any]:
        return {"stars": self.stars}

    def effects(self, file: str = "effects") -> list[str]:
        return self.files[file]


def attempt(outcome: str) -> dict[str, Any]:
    return {"purpose": "run", "outcome": outcome, "failure": None}


def lease(star: str, number: int = 1, effect: str = "once") -> dict[str, Any]:
    return {"kind": "star_leased", "star": star, "attempt": number, "device": "d1", "effect": effect, "purpose": "run"}


def report(star: str, number: int = 1) -> dict[str, Any]:
    return {"kind": "star_reported", "star": star, "attempt": number, "device": "d1", "outcome": "succeeded"}


async def judged(told: Told, cell: str) -> Verdict:
    run = Run(named(cell)[0], cast(Story, told.numbered()))
    await run.judge()
    return run.verdict


@pytest.mark.parametrize("cell", [CUT, KILLED])
async def test_a_story_in_which_all_went_well_passes(cell: str):
    found = await judged(Told(), cell)

    assert found.passed, found.violations
    assert (found.duplicates, found.lost, found.wasted, found.unknown) == (0, 0, 0, 0)


def twice(told: Told) -> None:
    told.files["effects"].append("blind")


def never(told: Told) -> None:
    told.files["effects"].remove("sure")


def forgotten(told: Told) -> None:
    told.seen = [*told.numbered().seen, {"kind": "star_progressed", "seq": 99}]


def changed(told: Told) -> None:
    told.seen = [dict(event) for event in told.numbered().recorded]
    told.seen[1]["device"] = "d2"


def skipped_a_number(told: Told) -> None:
    told.numbered()
    del told.recorded[3]


def leased_again(told: Told) -> None:
    told.recorded.insert(2, lease("sure"))


def leased_after_its_success(told: Told) -> None:
    told.recorded.insert(3, lease("sure", 2))


def ended_by_another(told: Told) -> None:
    told.recorded[2]["device"] = "d2"


def ended_twice(told: Told) -> None:
    told.recorded.insert(3, report("sure"))


def still_running(told: Told) -> None:
    told.star("plain")["state"] = "running"


def placed_in_vain(told: Told) -> None:
    told.star("plain")["attempts"].insert(0, attempt("lost"))


def repeated_for_nothing(told: Told) -> None:
    told.files["again"].append("plain")


def failed(told: Told) -> None:
    told.fails("plain", "exit_nonzero")


def blind_failed(told: Told) -> None:
    told.fails("blind", "exit_nonzero")


def nobody_knows(told: Told) -> None:
    told.fails("blind", "outcome_unknown")


@pytest.mark.parametrize(
    ("broken", "cell", "words"),
    [
        (twice, KILLED, "blind took effect 2 times"),
        (never, KILLED, "sure succeeded and took effect 0 times"),
        (forgotten, KILLED, "event 99 (star_progressed) was lost"),
        (changed, KILLED, "event 2 (star_leased) was lost"),
        (skipped_a_number, KILLED, "event 4 is missing"),
        (leased_again, KILLED, "sure#1 was leased twice"),
        (leased_after_its_success, KILLED, "sure#2 was leased after sure had succeeded"),
        (ended_by_another, KILLED, "sure#1 was ended by d2, held by d1"),
        (ended_twice, KILLED, "sure#1 ended twice"),
        (still_running, KILLED, "plain is running, and the constellation has ended"),
        (placed_in_vain, CUT, "1 attempts came to nothing"),
        (repeated_for_nothing, CUT, "1 attempts came to nothing"),
        (failed, KILLED, "plain is failed"),
        (blind_failed, KILLED, "blind is failed"),
        (nobody_knows, CUT, "blind is failed"),
    ],
)
async def test_each_rule_that_is_broken_turns_the_verdict_red(broken: Callable[[Told], None], cell: str, words: str):
    told = Told()
    broken(told)

    found = await judged(told, cell)

    assert not found.passed
    assert any(words in each for each in found.violations), found.violations


async def test_what_nobody_can_know_and_what_was_repeated_are_counted_where_calls_were_cut_off():
    told = Told()
    nobody_knows(told)
    placed_in_vain(told)
    repeated_for_nothing(told)

    found = await judged(told, KILLED)

    assert found.passed, found.violations
    assert (found.unknown, found.wasted, found.duplicates) == (1, 3, 0)


async def test_what_is_gone_and_what_happened_again_is_counted():
    told = Told()
    twice(told)
    never(told)
    forgotten(told)

    found = await judged(told, KILLED)

    assert (found.duplicates, found.lost) == (1, 2)
