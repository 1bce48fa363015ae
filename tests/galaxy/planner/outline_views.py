"""Views of real constellations, as planners are shown them, and the little fleet that stands in them."""

from typing import Any

from galaxy.core.constellation import Constellation
from galaxy.core.edit import AnyOperation, Edit, drafted
from galaxy.core.events import StarLeased
from galaxy.core.goal import Answer, Fact, FactKind, Goal, Grant, Usage
from galaxy.core.star import Line, Star, When
from galaxy.core.states import NOT_STARTED
from galaxy.planner.contract import DeviceView, FleetView, StarView, TryView, View
from galaxy.planner.outline import Outline
from protocol.vocabulary import Effect, Failure
from tests.galaxy.core.helpers import OOPS, done, edit, fail, submit, tool

TOOLS = ("file.read", "file.write", "file.list", "file.stat", "http.request", "shell.run", "system.info", "net.port")
EFFECTS = {"http.request": Effect.ONCE, "shell.run": Effect.ONCE, "file.write": Effect.IDEMPOTENT}
NO_FLEET = FleetView((), {})


class NoMeter:
    """Planners that call no model have nothing to account for."""

    async def reserve(self, tokens: int, money: float) -> str:
        raise AssertionError("no model is called")

    async def settle(self, call: str, usage: Usage) -> None:
        raise AssertionError("no model is called")

    async def thought(self, text: str) -> None:
        raise AssertionError("no model is called")


METER = NoMeter()


def device_view(name: str, tools: tuple[str, ...] = TOOLS, **more: Any) -> DeviceView:
    specs = tuple(tool(each, EFFECTS.get(each, Effect.PURE)) for each in tools)
    return DeviceView(
        **{"id": name, "kind": "server", "presence": "connected", "labels": {}, "slots": 1, "held": 0}
        | {"tools": specs}
        | more
    )


def fleet(*devices: DeviceView) -> FleetView:
    return FleetView(devices, {})


def view_of(
    constellation: Constellation,
    text: str = "",
    *,
    fleet: FleetView = NO_FLEET,
    grant: Grant | None = None,
    **more: Any,
) -> View:
    """Return what a planner would be shown of it."""
    stars = {}
    for star_id, course in constellation.courses.items():
        stars[star_id] = StarView(
            course.star,
            course.state,
            course.state in NOT_STARTED,
            course.failure_held,
            tuple(constellation.into.get(star_id, {}).values()),
            course.attempts[-1].device if course.attempts else "",
            course.result,
            course.failure,
            course.cause,
            tuple(TryView(a.number, a.device, a.outcome, a.failure) for a in course.attempts if a.failure),
        )
    goal = Goal(text) if text else None
    return View(constellation.id, goal, constellation.revision, stars, fleet, grant or Grant(), **more)


def fact(kind: FactKind, star: str = "") -> Fact:
    return Fact(kind, 1.0, star)


def shown(stars: dict[str, Star], lines: dict[tuple[str, str], Any]) -> list[str]:
    """Return a constellation as lines that a person can compare."""
    told = [f"{star.id}: {star.tool} {bytes(star.arguments).decode()}" for star in stars.values()]
    for line in lines.values():
        how = "" if line.when is When.SUCCESS else f" {line.when}"
        what = f" `{line.condition}`" if line.condition else ""
        told.append(f"{line.source} -> {line.target}{how}{what}{' (bound)' if line.implied else ''}")
    return told


class Alive:
    """A constellation that lives by its own events; an edit is checked before it is made."""

    def __init__(self, *parts: Star | Line, text: str = "", fleet: FleetView = NO_FLEET) -> None:
        self.constellation, self.text, self.fleet = Constellation("c"), text, fleet
        self.constellation.apply(submit(*parts))

    def edit(self, operations: tuple[AnyOperation, ...]) -> None:
        drafted(self.constellation, operations)
        self.constellation.apply(edit(*operations, base=self.constellation.revision))

    def succeed(self, star_id: str, result: Any = None, on: str = "laptop") -> None:
        number = self._lease(star_id, on, Effect.PURE)
        self.constellation.apply(done(f"c/{star_id}#{number}", by=on, result=result))

    def fail(self, star_id: str, failure: Failure = OOPS, on: str = "laptop", effect: Effect = Effect.PURE) -> None:
        number = self._lease(star_id, on, effect)
        self.constellation.apply(fail(f"c/{star_id}#{number}", by=on, failure=failure))

    def view(self, **more: Any) -> View:
        return view_of(self.constellation, self.text, **({"fleet": self.fleet} | more))

    def told(self, *stars: str) -> list[str]:
        """Return what a person can compare: each star with its call, and the lines that lead into it."""
        c = self.constellation
        chosen = {name: course.star for name, course in c.courses.items() if not stars or name in stars}
        lines = {(s, t): line for t, into in c.into.items() for s, line in into.items() if t in chosen}
        return shown(chosen, lines)

    def _lease(self, star_id: str, on: str, effect: Effect) -> int:
        number = len(self.constellation.courses[star_id].attempts) + 1
        self.constellation.apply(
            StarLeased(at=1.0, constellation="c", star=star_id, attempt=number, device=on, effect=effect)
        )
        return number


async def planned(text: str, *, fleet: FleetView = NO_FLEET, grant: Grant | None = None) -> Alive:
    """Return the constellation that the outline makes."""
    alive = Alive(text=text, fleet=fleet)
    answer = await Outline().plan(alive.view(grant=grant), METER)
    alive.edit(answer.operations)
    return alive


async def revised(alive: Alive, *facts: Fact) -> Answer:
    """Return what the planner says to the facts; what it adds is added."""
    answer = await Outline().revise(alive.view(), facts, METER)
    if isinstance(answer, Edit) and answer.operations:
        alive.edit(answer.operations)
    return answer
