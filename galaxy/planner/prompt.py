"""What a model gets to read: a fixed text that is ours, and a picture of the constellation.

Whatever comes from elsewhere stands there as JSON on a line of its own, with `<` and `>` written as escapes: no text
can close the mark that it stands in, begin a line, or hide what it says in characters that nobody sees.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from protocol.vocabulary import ToolSpec

from ..core.goal import Fact, FactKind, Goal
from ..core.star import Line, When
from ..core.states import HELD_BY_DEVICE
from .contract import DeviceView, StarView, View
from .provider import Message
from .signature import of_arguments, of_result

RESULT_CHARS = 2_000
UNTRUSTED_CHARS = 20_000  # in one prompt
CONTEXT_CHARS = 8_000
ARGUMENTS_CHARS = 1_000
DESCRIPTION_CHARS = 300
LABEL_CHARS = 80
STARS_SHOWN = 200
DEVICES_SHOWN = 100
TOOLS_SHOWN = 200
REFUSALS_SHOWN = 5
PATCHES_SHOWN = 20
VERSION = re.compile(r"<!-- version: (\w+) -->\n")
HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # categories of characters that have no shape

ASKED = {
    FactKind.GOAL: "The goal is to be planned.",
    FactKind.FAILED: "failed, with no attempts left. It is kept for your answer.",
    FactKind.SUCCEEDED: "succeeded, and you wanted to see its result before what is behind it starts.",
    FactKind.ENDED: "Everything has ended. Is the goal reached? If not: what is missing?",
}


@dataclass(frozen=True, slots=True)
class Template:
    """A prompt's fixed text; `label` says which, and in which version."""

    label: str
    text: str


@cache
def template(name: str) -> Template:
    """Return a prompt that this package brings along."""
    content = files(__package__).joinpath("prompts", f"{name}.md").read_text("utf-8")
    version = VERSION.match(content)
    assert version, f"{name}.md says its version in its first line"
    return Template(f"{name}@{version[1]}", content[version.end() :])


def plan_messages(view: View) -> list[Message]:
    """Return what a model reads that is to plan a goal."""
    return _messages("plan", [*_goal(view.goal), *_limits(view), *_fleet(view), *_refusals(view)])


def revise_messages(view: View, facts: Sequence[Fact]) -> list[Message]:
    """Return what a model reads that is asked about facts."""
    asked = {fact.star for fact in facts}
    parts = [
        *_goal(view.goal),
        *_limits(view),
        *_fleet(view),
        *_constellation(view, asked),
        *_details(view, asked),
        *_question(facts),
        *_refusals(view),
    ]
    return _messages("revise", parts)


def repair_messages(answer: str, mistakes: Sequence[str]) -> list[Message]:
    """Return what a model reads whose answer was not usable."""
    wrong = "\n".join(f"- {quoted(mistake)}" for mistake in mistakes)
    told = f"That answer cannot be used. Everything that is wrong with it:\n{wrong}\nGive the whole answer again."
    return [{"role": "assistant", "content": answer or "{}"}, {"role": "user", "content": told}]


def quoted(value: Any) -> str:
    """Return a value as JSON that stays on its line and within its marks."""
    return "".join(_visible(char) for char in json.dumps(value, ensure_ascii=False))


def untrusted(source: str, text: str, chars_max: int = RESULT_CHARS) -> str:
    """Return a stranger's words as data, cut to a size."""
    kept = text if len(text) <= chars_max else f"{text[:chars_max]}... [{len(text) - chars_max} characters left out]"
    return f"<untrusted>{quoted({'from': source, 'data': kept})}</untrusted>"


def _visible(char: str) -> str:
    if char in "<>":
        return f"\\u{ord(char):04x}"
    hidden = char > "~" and unicodedata.category(char) in HIDDEN
    return json.dumps(char)[1:-1] if hidden else char


def _messages(name: str, lines: Iterable[str]) -> list[Message]:
    return [{"role": "system", "content": template(name).text}, {"role": "user", "content": "\n".join(lines)}]


def _goal(goal: Goal | None) -> Iterator[str]:
    yield "# Goal"
    yield quoted(goal.text if goal else "(none was given: keep to what the constellation is for)")
    for item in goal.context if goal else ():
        words = item.text if len(item.text) <= CONTEXT_CHARS else f"{item.text[:CONTEXT_CHARS]}..."
        yield quoted(_without_empty({"context": item.name, "text": words, "artifact": item.artifact}))
    if goal and goal.deadline_s:
        yield f"It has to be reached within {goal.deadline_s:g} seconds of its submission."


def _limits(view: View) -> Iterator[str]:
    if view.grant.approve:
        effects = ", ".join(view.grant.approve)
        yield f"Calls of these effects wait for a person's approval: {effects}."


def _fleet(view: View) -> Iterator[str]:
    tools, allowed = view.fleet.tools(), view.grant.tools
    yield "# Devices"
    for device in view.fleet.devices[:DEVICES_SHOWN]:
        yield quoted(_of_device(device))
    yield from _left_out(len(view.fleet.devices), DEVICES_SHOWN, "devices")
    yield "# Tools (name, effect, arguments, result; `devices`: where Galaxy would run it now, the best first)"
    granted = [tool for name, tool in tools.items() if not allowed or name in allowed]
    for tool in granted[:TOOLS_SHOWN]:
        yield quoted(_of_tool(tool, view))
    yield from _left_out(len(granted), TOOLS_SHOWN, "tools")


def _of_device(device: DeviceView) -> dict[str, Any]:
    labels = {key[:LABEL_CHARS]: value[:LABEL_CHARS] for key, value in device.labels.items()}
    seen = {
        "kind": device.kind,
        "presence": device.presence,
        "labels": labels,
        "draining": device.draining[:LABEL_CHARS],
    }
    busy = f"{device.held} of {device.slots}"
    return {"device": device.id, **_without_empty(seen), "busy": busy, "tools": [tool.name for tool in device.tools]}


def _of_tool(tool: ToolSpec, view: View) -> dict[str, Any]:
    refused = {device: why[:LABEL_CHARS] for device, why in view.fleet.refused.get(tool.name, {}).items()}
    return {
        "tool": tool.name,
        "effect": tool.effect,
        "does": tool.description[:DESCRIPTION_CHARS],
        "arguments": of_arguments(tool),
        "result": of_result(tool),
        "devices": view.fleet.placement.get(tool.name, ()),
        **({"not on": refused} if refused else {}),
    }


def _constellation(view: View, asked: set[str]) -> Iterator[str]:
    yield f"# Constellation (revision {view.revision})"
    names = list(view.stars)
    if len(names) > STARS_SHOWN:
        # What matters stays: what is asked about, what has moved, what can be edited; of the rest only how many.
        weight = {n: (n in asked, s.failure_held, s.changed, s.editable) for n, s in view.stars.items()}
        kept = set(sorted(names, key=lambda name: weight[name], reverse=True)[:STARS_SHOWN])
        names = [name for name in names if name in kept]
        others = Counter(str(star.state) for name, star in view.stars.items() if name not in kept)
        yield f"{sum(others.values())} more stars are not shown: " + ", ".join(f"{n} {s}" for s, n in others.items())
    for name in names:
        yield quoted(_in_short(view.stars[name]))
    if view.patches:
        yield "Edits that planners have made so far, the oldest first:"
        yield from (quoted(patch[:DESCRIPTION_CHARS]) for patch in view.patches[-PATCHES_SHOWN:])


def _in_short(seen: StarView) -> dict[str, Any]:
    star = seen.star
    lines = [_line(line) for line in seen.sources]
    held = "failed, kept for your answer" if seen.failure_held else str(seen.state)
    may = "replace" if seen.state in HELD_BY_DEVICE else "edit" if seen.editable else ""
    where = seen.device or star.needs.device
    short = {"star": star.id, "state": held, "tool": star.tool, "on": where, "may": may, "waits for": lines}
    return _without_empty(short)


def _line(line: Line) -> str:
    how = "" if line.when is When.SUCCESS else f" ({line.when}{': ' if line.condition else ''}{line.condition})"
    return f"{line.source}{how}"


def _details(view: View, asked: set[str]) -> Iterator[str]:
    """Yield what the stars say that have moved; failures before results, if not all of it finds room."""
    moved = [star for name, star in view.stars.items() if name in asked or star.changed or star.failure_held]
    room = UNTRUSTED_CHARS
    yield "# What has moved since your last answer"
    for seen in sorted(moved, key=lambda star: (star.star.id not in asked, star.failure is None)):
        yield quoted(_as_written(seen))
        for source, text in _said(seen):
            if room <= 0:
                yield "(more results are left out here; refer to them by pointer)"
                return
            block = untrusted(source, text, min(RESULT_CHARS, room))
            room -= min(len(text), RESULT_CHARS)
            yield block


def _as_written(seen: StarView) -> dict[str, Any]:
    star = seen.star
    arguments = bytes(star.arguments).decode()
    written = {
        "star": star.id,
        "state": "failed, kept for your answer" if seen.failure_held else str(seen.state),
        "tool": star.tool,
        "arguments": arguments[:ARGUMENTS_CHARS],
        "instruction": star.instruction.text if star.instruction else "",
        "device": seen.device,
        "cause": "" if seen.failure else seen.cause[:DESCRIPTION_CHARS],
    }
    return _without_empty(written)


def _said(seen: StarView) -> Iterator[tuple[str, str]]:
    """Yield what devices said of the star: why each try failed, and its result."""
    name = seen.star.id
    for tried in seen.tries:
        if tried.failure:
            where = f"try {tried.number} of {name} on {tried.device}, {tried.outcome}, code {tried.failure.code}"
            yield where, tried.failure.message
    last = seen.tries[-1].failure if seen.tries else None
    if seen.failure and seen.failure != last:
        yield f"failure of {name}, code {seen.failure.code}", seen.failure.message
    if seen.result is not None:
        yield f"result of {name}", bytes(seen.result).decode("utf-8", "replace")


def _question(facts: Sequence[Fact]) -> Iterator[str]:
    yield "# Question"
    for fact in facts:
        yield f"Star {quoted(fact.star)} {ASKED[fact.kind]}" if fact.star else ASKED[fact.kind]


def _refusals(view: View) -> Iterator[str]:
    if view.refusals:
        yield "# Your earlier answers to this question were not accepted"
        yield from (quoted(refusal[:RESULT_CHARS]) for refusal in view.refusals[-REFUSALS_SHOWN:])


def _left_out(count: int, shown: int, what: str) -> Iterator[str]:
    if count > shown:
        yield f"({count - shown} more {what} are not shown)"


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in ("", [], {}, None)}
