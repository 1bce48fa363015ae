"""The planner that follows a written outline. It needs no model: the same text gives the same constellation."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

import msgspec
from msgspec import Raw

from ..core.binding import FROM, TEXT
from ..core.edit import Edit
from ..core.goal import Answer, Done, Fact, FactKind, GiveUp
from ..core.star import When
from ..core.states import FAILED, SUCCEEDED
from .contract import Meter, PlannerFailed, View
from .outline_draw import drawn, standing_in
from .outline_text import parsed_text
from .outline_yaml import is_yaml, parsed_yaml
from .steps import Outline as Steps
from .steps import Reference, fault

NOTHING_TO_ADD = Edit((), "nothing to add")


class Outline:
    """Follows the goal's text. It keeps nothing: each time it reads the text anew, and looks at what is there."""

    async def plan(self, view: View, meter: Meter) -> Edit:
        steps = _steps_of(view)
        _require_usable(steps, view)
        operations = drawn(steps, view, at_first=True).operations
        return Edit(operations, f"as the outline says, which has {_counted(len(steps.steps), 'step')}")

    async def revise(self, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
        """Return what has become possible to draw. What failed is left to others; a list that is none is an error."""
        steps = _steps_of(view)
        new = drawn(steps, view)
        problems = "; ".join(new.problems.values())
        if new.operations:
            return Edit(new.operations, f"the lists of loops are known{f'; {problems}' if problems else ''}")
        if any(fact.kind is FactKind.ENDED for fact in facts):
            return GiveUp(problems) if problems else _answered(steps, view)
        if asked := [new.problems[fact.star] for fact in facts if fact.star in new.problems]:
            raise PlannerFailed("; ".join(asked))
        return NOTHING_TO_ADD


def parsed(text: str) -> Steps:
    """Return the steps of an outline in either notation; raise OutlineError."""
    return parsed_yaml(text) if is_yaml(text) else parsed_text(text)


def _steps_of(view: View) -> Steps:
    if view.goal is None:
        raise PlannerFailed("there is no goal, and so no outline to follow")
    if view.refusals:  # the outline would say the same again
        raise PlannerFailed(f"what the outline says is refused: {view.refusals[-1]}")
    return parsed(view.goal.text)


def _require_usable(steps: Steps, view: View) -> None:
    """Raise OutlineError for a tool or device that is not granted, or that nobody has ever heard of."""
    grant, fleet = view.grant, view.fleet
    tools = {tool for device in fleet.devices for tool in (spec.name for spec in device.tools)}
    devices = {device.id for device in fleet.devices}
    for step in steps.steps:
        for tool, mark in step.tools():
            if grant.tools and tool not in grant.tools:
                raise fault(f"the tool {tool} is not granted: write one of {_few(grant.tools)}", mark)
            if devices and tool not in tools:
                raise fault(f"no device has the tool {tool}{_instead(tool, tools)}", mark)
        if step.device and grant.devices and step.device not in grant.devices:
            raise fault(f"{step.device} is not granted: write one of {_few(grant.devices)}", step.device_mark)
        if step.device and devices and step.device not in devices:
            raise fault(f"there is no device {step.device}{_instead(step.device, devices)}", step.device_mark)


def _instead(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    return f": write {' or '.join(near)}" if near else f": write one of {_few(names)}"


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "") if listed else "those that devices offer"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _answered(steps: Steps, view: View) -> Answer:
    """Return the answer that the outline asks for, if all that it names has succeeded and no failure is left open."""
    if not steps.answer:
        return NOTHING_TO_ADD
    if unhandled := [star_id for star_id in _failed(view) if not _is_handled(star_id, view)]:
        return Edit((), f"no answer: {_few(unhandled)} failed")
    parts: list[object] = []
    for part in steps.answer:
        if isinstance(part, str):
            parts.append(part)
            continue
        stars = _stars_of(part, steps, view)
        if missing := [star_id for star_id in stars if view.stars[star_id].state is not SUCCEEDED]:
            return Edit((), f"no answer: {_few(missing)} has no result")
        bound = [{FROM: star_id, "pointer": part.pointer} for star_id in stars]
        if not bound and not _has_loop(part, steps):
            return Edit((), f"no answer: step {part.name} is not there")
        parts.append(bound if _has_loop(part, steps) else bound[0])
    answer = {TEXT: parts} if len(parts) > 1 else parts[0]
    return Done(Raw(msgspec.json.encode(answer)), reason="the outline is done")


def _stars_of(reference: Reference, steps: Steps, view: View) -> list[str]:
    name = f"s{reference.name}"
    if not _has_loop(reference, steps):
        return [standing_in(view, name)] if name in view.stars else []
    indexes = (star_id.removeprefix(f"{name}-") for star_id in view.stars if star_id.startswith(f"{name}-"))
    return [standing_in(view, f"{name}-{index}") for index in sorted(int(i) for i in indexes if i.isdecimal())]


def _has_loop(reference: Reference, steps: Steps) -> bool:
    return any(step.number == reference.step and step.loop for step in steps.steps)


def _failed(view: View) -> Iterator[str]:
    return (star_id for star_id, seen in view.stars.items() if seen.state is FAILED)


def _is_handled(failed: str, view: View) -> bool:
    """Whether a star behind a `failure` line has succeeded in its place, as the core counts it."""
    return any(
        line.source == failed and line.when is When.FAILURE and seen.state is SUCCEEDED
        for seen in view.stars.values()
        for line in seen.sources
    )
