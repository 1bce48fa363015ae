"""One run of one cell, from its submission to the verdict."""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from ..checkers import lost, violations
from .matrix import Cell
from .moments import arranged, let_on, reached
from .processes import until
from .story import Story

END_WITHIN_S = 90.0
IN_ORDER = ("succeeded", "not_started")  # what a device has never heard of cost nothing
PLACED_AGAIN = ("sure", "plain", "last", "behind", "more")  # whatever happens, these succeed


@dataclass(slots=True)
class Verdict:
    """What came of one cell."""

    cell: str
    violations: list[str] = field(default_factory=list)
    recovery_s: float = 0.0  # from the end of the fault, or from its beginning if it lasts, to the end of the run
    duplicates: int = 0  # effects that may happen only once, and happened again
    lost: int = 0  # events that were shown and are gone, and successes whose effect has not happened
    wasted: int = 0  # attempts that came to nothing, and repeated effects where that is allowed
    unknown: int = 0  # stars of which nobody can know
    took_s: float = 0.0

    @property
    def passed(self) -> bool:
        return not self.violations

    def shown(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"pass": self.passed, **asdict(self)}


class Run:
    """A cell, and the story that it happens to."""

    def __init__(self, cell: Cell, story: Story) -> None:
        self.cell = cell
        self.story = story
        self.verdict = Verdict(cell.name)
        self._began_at = time.monotonic()
        self._over_at = self._began_at

    async def arranged(self) -> None:
        """Stand just short of the moment."""
        await arranged(self.cell.moment, self.story)

    async def reached(self) -> None:
        """Stand at the moment."""
        await reached(self.cell.moment, self.story)

    def struck(self) -> None:
        """The fault is there: what runs goes on as far as it can."""
        let_on(self.story)

    def passed(self, over_at: float) -> None:
        """The fault is over, and was from that time on; or it lasts."""
        self._over_at = over_at

    async def ended(self) -> None:
        """See it to its end, and answer where that is awaited."""
        if self.story.asks:
            await until(self.story.question, "the question is open", END_WITHIN_S)
            await self.story.answer()
        await until(self.story.has_ended, "the constellation has ended", END_WITHIN_S)
        self.verdict.recovery_s = round(time.monotonic() - self._over_at, 2)

    async def judge(self) -> None:
        """Say what came of it."""
        found, story = self.verdict, self.story
        recorded = await story.events()
        stars = (await story.picture())["stars"]
        states = {star["id"]: star["state"] for star in stars}
        effects = story.effects()
        gone = lost(story.seen, recorded)
        missing = [star for star in ("sure", "blind") if states[star] == "succeeded" and star not in effects]
        attempts = [each for star in stars for each in star["attempts"] if each["purpose"] == "run"]
        found.duplicates = sum(times - 1 for times in Counter(effects).values())
        found.lost = len(gone) + len(missing)
        in_vain = sum(each["outcome"] not in IN_ORDER for each in attempts)
        found.wasted = in_vain + len(story.effects("again")) - 1
        found.unknown = sum((star["failure"] or {}).get("code") == "outcome_unknown" for star in stars)
        found.violations += [*violations(recorded, states, effects), *gone, *self._unexpected(states, stars)]
        found.took_s = round(time.monotonic() - self._began_at, 2)

    def _unexpected(self, states: dict[str, str], stars: list[dict[str, Any]]) -> list[str]:
        """Return what the checkers cannot know: how these very stars must end under this fault."""
        fault, found = self.cell.fault, self.verdict
        wrong = [f"{star} is {states[star]}" for star in PLACED_AGAIN if states.get(star, "succeeded") != "succeeded"]
        blind = next(star for star in stars if star["id"] == "blind")
        code = (blind["failure"] or {}).get("code")
        if blind["state"] != "succeeded" and not (fault.ends_calls and code == "outcome_unknown"):
            wrong.append(f"blind is {blind['state']}: {blind['failure']}")
        if found.wasted > 0 and not self.cell.may_waste:
            wrong.append(f"{found.wasted} attempts came to nothing, though nothing was cut off: {self._in_vain(stars)}")
        return wrong

    def _in_vain(self, stars: list[dict[str, Any]]) -> str:
        attempts = [(star["id"], each) for star in stars for each in star["attempts"]]
        vain = [(name, each["outcome"], each["failure"]) for name, each in attempts if each["outcome"] not in IN_ORDER]
        return "; ".join(f"{name} {outcome}: {(failure or {}).get('message')}" for name, outcome, failure in vain)
