"""Makes a plan that breaks something small: without each fault, deed, star and constellation that it does not need."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

from .plan import Plan
from .simulate import simulated
from .workload import Submission

T = TypeVar("T")


def shrunk(plan: Plan, tell: Callable[[str], None] = lambda _: None, tries_max: int = 400) -> Plan:
    """Return a smaller plan in which the same rule is broken; the plan itself if nothing is."""
    wanted = _rules(plan)
    tries = 0
    found = True
    while found and wanted:
        found = False
        for smaller in _smaller(plan):
            tries += 1
            if tries > tries_max:
                return plan
            if wanted & _rules(smaller):
                plan, found = smaller, True
                tell(f"{len(plan.faults)} faults, {len(plan.deeds)} deeds, {_stars(plan)} stars")
                break
    return plan


def _rules(plan: Plan) -> set[str]:
    """Return what is broken, without the names and times that are of this run alone."""
    told = simulated(plan)[0].violations
    return {"".join(letter for letter in text.partition(":")[0] if not letter.isdigit())[-40:] for text in told}


def _stars(plan: Plan) -> int:
    return sum(len(asked.stars) for asked in plan.submissions)


def _smaller(plan: Plan) -> Iterator[Plan]:
    for parts in (8, 4, 2, 1):
        for faults in _without(plan.faults, parts):
            yield replace(plan, faults=faults)
        for deeds in _without(plan.deeds, parts):
            yield replace(plan, deeds=deeds)
        for asked in _without(plan.submissions, parts):
            names = {one.constellation for one in asked}
            deeds = tuple(deed for deed in plan.deeds if deed.constellation in names)
            yield replace(plan, submissions=asked, deeds=deeds)
    for n, asked_for in enumerate(plan.submissions):
        for star in reversed(asked_for.stars):
            if not any(binding.source == star.id for other in asked_for.stars for binding in other.bindings):
                yield replace(plan, submissions=_with(plan.submissions, n, _less(asked_for, star.id)))


def _less(asked: Submission, star: str) -> Submission:
    lines = tuple(line for line in asked.lines if star not in (line.source, line.target))
    return replace(asked, stars=tuple(one for one in asked.stars if one.id != star), lines=lines)


def _with(every: tuple[Submission, ...], n: int, one: Submission) -> tuple[Submission, ...]:
    return (*every[:n], one, *every[n + 1 :]) if one.stars else (*every[:n], *every[n + 1 :])


def _without(every: tuple[T, ...], size: int) -> Iterator[tuple[T, ...]]:
    """Yield the whole without each piece of this size."""
    if len(every) >= size:
        for start in range(0, len(every), size):
            yield (*every[:start], *every[start + size :])
