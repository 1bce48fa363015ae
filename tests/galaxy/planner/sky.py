"""A small constellation for planners' tests: edits are drafted by the real rules, stars end as the test says."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import Raw

from device_agents.tools import tools_for
from device_agents.tools.base import spec_of
from galaxy.core.condition import judged
from galaxy.core.edit import Edit, drafted
from galaxy.core.goal import Fact, FactKind, Goal, Grant, Usage
from galaxy.core.star import Line, OnSuccess, Star, When
from galaxy.core.states import FAILED, READY, SKIPPED, SUCCEEDED, TERMINAL, WAITING, StarState
from galaxy.planner.answers import as_constellation
from galaxy.planner.contract import DeviceView, FleetView, PlannerFailed, StarView, TryView, View
from protocol.vocabulary import Failure, Kind, ToolSpec

TOOLS = {name: spec_of(tool) for name, tool in tools_for(Kind.DESKTOP).items()}
PROGRAMLESS = tuple(name for name in TOOLS if name.startswith(("file.", "system.", "process.")))


def device(name: str, kind: str, tools: Iterable[str] = TOOLS, **more: Any) -> DeviceView:
    specs = tuple(TOOLS[tool] for tool in tools)
    return DeviceView(**{"labels": {}, **more}, id=name, kind=kind, presence="connected", slots=4, held=0, tools=specs)


DEVICES = (device("desk", "desktop"), device("atlas", "server"), device("rig", "edge", PROGRAMLESS))


def fleet(*devices: DeviceView) -> FleetView:
    names = [tool.name for one in devices for tool in one.tools]
    able = {name: tuple(one.id for one in devices if any(t.name == name for t in one.tools)) for name in names}
    return FleetView(devices, able)


def spec(name: str, **more: Any) -> ToolSpec:
    """Return a tool like `file.read`, but for what is said."""
    return msgspec.structs.replace(TOOLS["file.read"], name=name, **more)


def a_star(name: str, tool: str = "file.read", arguments: Any = None, **more: Any) -> Star:
    return Star(name, tool, Raw(msgspec.json.encode(arguments or {"path": "a"})), **more)


def seen(star: Star, state: StarState = WAITING, **more: Any) -> StarView:
    editable = state in (WAITING, READY)
    return StarView(**{"sources": (), "failure_held": False, "editable": editable, **more}, star=star, state=state)


def a_view(*stars: StarView, **more: Any) -> View:
    by_name = {star.star.id: star for star in stars}
    given = {"goal": Goal("Do it"), "fleet": fleet(*DEVICES), "grant": Grant(), **more}
    return View(constellation="c", revision=1, stars=by_name, **given)


@dataclass
class Book:
    """A meter that keeps what it is told."""

    tokens_max: int = 0
    reserved: list[tuple[int, float]] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)

    async def reserve(self, tokens: int, money: float) -> str:
        if self.tokens_max and tokens > self.tokens_max:
            raise PlannerFailed(f"{tokens} tokens, and {self.tokens_max} are left")
        self.reserved.append((tokens, money))
        return f"call {len(self.reserved)}"

    async def settle(self, call: str, usage: Usage) -> None:
        assert call == f"call {len(self.reserved)}"
        self.usages.append(usage)

    async def thought(self, text: str) -> None:
        self.thoughts.append(text)


class Sky:
    """A constellation whose stars end when the test says so."""

    def __init__(self, goal: str) -> None:
        self.view = a_view(goal=Goal(goal))

    def edit(self, edit: Edit) -> None:
        """Apply an edit; what failed and is not touched by it fails for good."""
        draft = drafted(as_constellation(self.view), edit.operations)
        stars = dict(self.view.stars)
        for name, star in draft.stars.items():
            if star is None:
                del stars[name]
            elif name in stars:
                stars[name] = replace(stars[name], star=star, failure_held=False, changed=False)
            else:
                stars[name] = seen(star)
        for name in draft.retried:
            stars[name] = replace(stars[name], failure_held=False)
        for name in draft.skipped:
            stars[name] = replace(stars[name], state=SKIPPED, editable=False)
        for (source, target), line in draft.lines.items():
            if target in stars:
                kept = tuple(one for one in stars[target].sources if one.source != source)
                stars[target] = replace(stars[target], sources=(*kept, line) if line else kept)
        for name, kept_star in stars.items():
            stars[name] = replace(kept_star, changed=False)
            if kept_star.failure_held:
                stars[name] = replace(stars[name], state=FAILED, failure_held=False, editable=False)
        self.view = replace(self.view, stars=stars, revision=self.view.revision + 1)
        self._settle()

    def end(self, ends: dict[str, Any]) -> list[Fact]:
        """Let stars end; return what a planner is asked about."""
        facts = []
        for name, end in ends.items():
            star = self.view.stars[name]
            assert star.state is READY, f"{name} is {star.state}, and cannot end"
            if failure := end.get("failure"):
                tried = TryView(len(star.tries) + 1, end["device"], "failed", msgspec.convert(failure, Failure))
                star = replace(star, device=tried.device, changed=True, failure_held=True)
                star = replace(star, failure=tried.failure, tries=(*star.tries, tried))
                facts.append(Fact(FactKind.FAILED, 0.0, name))
            else:
                result = Raw(msgspec.json.encode(end["result"]))
                where = star.star.needs.device or "desk"
                star = replace(star, state=SUCCEEDED, editable=False, device=where, result=result, changed=True)
                if star.star.on_success is OnSuccess.CONSULT:
                    facts.append(Fact(FactKind.SUCCEEDED, 0.0, name))
            self._put(star)
            self._settle()
        if all(star.state in TERMINAL for star in self.view.stars.values()) and not facts:
            facts.append(Fact(FactKind.ENDED, 0.0))
        return facts

    def _put(self, star: StarView) -> None:
        self.view = replace(self.view, stars={**self.view.stars, star.star.id: star})

    def _settle(self) -> None:
        before = None
        while before != self.view:
            before = self.view
            for star in self.view.stars.values():
                if star.state in (WAITING, READY) and not star.failure_held:
                    self._put(replace(star, state=self._state(star)))

    def _state(self, star: StarView) -> StarState:
        verdicts = [self._holds(line) for line in star.sources]
        if False in verdicts:
            return SKIPPED
        return WAITING if None in verdicts else READY

    def _holds(self, line: Line) -> bool | None:
        source = self.view.stars[line.source]
        if source.state not in TERMINAL:
            return None
        if line.when is When.ALWAYS:
            return True
        if line.when is When.FAILURE:
            return source.state is FAILED
        met = line.when is When.SUCCESS or judged(line.condition, source.result).met
        return source.state is SUCCEEDED and met
