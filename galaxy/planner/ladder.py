"""Who answers a question, and in which order: the rules first, then the constellation's planner.

A node asks in this order in earnest, and a backtest to find out what would have been answered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.edit import Edit
from ..core.goal import REPAIR, Answer, Fact, FactKind, Planning
from .contract import Meter, NoAnswer, Planner, PlannerFailed, View
from .repair import Repair, Repaired

EXTERNAL = "external"  # whoever answers by REST
OUTLINE = "outline"
LLM = "llm"


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, and who gave it."""

    answer: Answer
    by: str


async def answered(
    planning: Planning, planners: Mapping[str, Planner], view: View, facts: Sequence[Fact], meter: Meter
) -> Said | None:
    """Return the answer, or None if it comes from elsewhere; raise NoAnswer or PlannerFailed."""
    name, mended = planning.planner, _mended(planning, view, facts)
    left = tuple(fact for fact in facts if fact not in mended.covered)
    if mended.covered and not left:
        return Said(Edit(mended.operations, mended.reason), f"planner:{REPAIR}")
    if name == EXTERNAL:
        return None
    if name == REPAIR or (name == OUTLINE and any(fact.kind is FactKind.FAILED for fact in left)):
        stars = ", ".join(fact.star for fact in left if fact.star)
        raise NoAnswer(f"no rule knows what to do about {stars or 'a goal'}")
    if name not in planners:
        raise PlannerFailed(f"there is no planner {name!r} here; there is {', '.join(sorted(planners))}")
    answer = await _asked(planners[name], view, left, meter)
    if isinstance(answer, Edit) and mended.operations:
        reason = "; ".join(filter(None, (mended.reason, answer.reason)))
        answer = Edit((*mended.operations, *answer.operations), reason)
        name = f"{REPAIR}+{name}"
    return Said(answer, f"planner:{name}")


def _mended(planning: Planning, view: View, facts: Sequence[Fact]) -> Repaired:
    """Return what the rules make of the facts. As the planner they are asked also where they need not come first."""
    asked = planning.repair or planning.planner == REPAIR
    if view.refusals or not asked:  # they would say again what was refused
        return Repaired((), (), "")
    return Repair().repair(view, facts)


async def _asked(planner: Planner, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
    if any(fact.kind is FactKind.GOAL for fact in facts):
        return await planner.plan(view, meter)
    return await planner.revise(view, facts, meter)
