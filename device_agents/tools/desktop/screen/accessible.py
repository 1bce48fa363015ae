"""Accessibility: what the programs of a desktop say of themselves, over AT-SPI. All of it is data, whoever says it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ....errors import ToolFailed
from .bus import CALL_S, GET_ALL, Bus, BusRefused, BusSilent, Question, on_bus, session_bus
from .display import Screen, at_the_screen, display_name
from .settings import ScreenSettings

_SPI = "org.a11y.atspi"
ACCESSIBLE, TEXT, EDITABLE, ACTION = (f"{_SPI}.{each}" for each in ("Accessible", "Text", "EditableText", "Action"))
ROOT = f"{_SPI}.Registry", f"/{_SPI.replace('.', '/')}/accessible/root"
_ROLE = Question(ACCESSIBLE, "GetRoleName", answers="s")
_STATE = Question(ACCESSIBLE, "GetState", answers="au")
_INTERFACES = Question(ACCESSIBLE, "GetInterfaces", answers="as")
_CHILDREN = Question(ACCESSIBLE, "GetChildren", answers="a(so)")
_CHILD = Question(ACCESSIBLE, "GetChildAtIndex", "i", "(so)")
_TEXT = Question(TEXT, "GetText", "ii", "s")
_ACTIONS = Question(ACTION, "GetActions", answers="a(sss)")
DO = Question(ACTION, "DoAction", "i", "b")
SET_TEXT = Question(EDITABLE, "SetTextContents", "s", "b")
_LAUNCHER = "org.a11y.Bus", "/org/a11y/bus"
_ADDRESS = Question("org.a11y.Bus", "GetAddress", answers="s", starts=True)  # nothing of it needs to run yet
_START_S = 10.0
CHILDREN_MAX = 200  # that are asked for of one node; a table may have a million
PASSWORD = "password text"
_STATES = {  # those that say what can be done with a node; AT-SPI has forty-odd, by number
    1: "active",
    4: "checked",
    7: "editable",
    8: "enabled",
    10: "expanded",
    12: "focused",
    16: "modal",
    17: "multi_line",
    20: "pressed",
    23: "selected",
    25: "showing",
    41: "has_popup",
}

Node = tuple[str, str]


def node_of(id_: str) -> Node:
    """Return the bus name and the path that the id is made of."""
    name, slash, path = id_.partition("/")
    return name, slash + path


def id_of(node: Node) -> str:
    return "".join(node)


@asynccontextmanager
async def on_accessibility(settings: ScreenSettings) -> AsyncIterator["Accessibility"]:
    """Yield the bus of accessibility; raise ToolFailed unavailable, not_responding, no_such_node."""
    display_name(settings)  # where these tools have not been tried
    async with on_bus(await _address(settings)) as bus:
        yield Accessibility(bus)


class Accessibility:
    """The bus on which programs tell what they show."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def ask(self, node: Node, question: Question, *body: Any, timeout_s: float = CALL_S) -> Any:
        """Return what the node answers; raise ToolFailed not_responding, no_such_node."""
        try:
            return (await self._bus.ask(node, question, *body, timeout_s=timeout_s))[0]
        except BusSilent as exc:
            raise ToolFailed("not_responding", f"the program does not answer: {exc}", retryable=True) from exc
        except BusRefused as exc:
            said = f"{id_of(node)} is not there any more, or cannot do that: {exc}; access.tree tells what there is"
            raise ToolFailed("no_such_node", said) from exc

    async def properties(self, node: Node) -> dict[str, Any]:
        """Return what every node says of itself: Name, Description, ChildCount."""
        return await self._all(node, ACCESSIBLE)

    async def role(self, node: Node) -> str:
        return str(await self.ask(node, _ROLE))[:60]

    async def states(self, node: Node) -> list[str]:
        bits = sum(word << 32 * at for at, word in enumerate((await self.ask(node, _STATE))[:2]))
        return [name for at, name in _STATES.items() if bits >> at & 1]

    async def interfaces(self, node: Node) -> list[str]:
        return list(await self.ask(node, _INTERFACES))

    async def children(self, node: Node, count: int) -> list[Node]:
        """Return the first of so many that the node says it has."""
        if count <= CHILDREN_MAX:
            found = await self.ask(node, _CHILDREN)
        else:
            found = [await self.ask(node, _CHILD, at) for at in range(CHILDREN_MAX)]
        return [(str(name), str(path)) for name, path in found[:CHILDREN_MAX]]

    async def length(self, node: Node) -> int:
        return number((await self._all(node, TEXT)).get("CharacterCount"))

    async def text(self, node: Node, chars_max: int) -> str:
        """Return the beginning of its text."""
        return str(await self.ask(node, _TEXT, 0, min(await self.length(node), chars_max)))[:chars_max]

    async def actions(self, node: Node) -> list[str]:
        return [str(each[0])[:60] for each in (await self.ask(node, _ACTIONS))[:20]]

    async def _all(self, node: Node, interface: str) -> dict[str, Any]:
        return {name: each.value for name, each in (await self.ask(node, GET_ALL, interface)).items()}


def number(said: Any) -> int:
    """Return a count that a program tells, 0 where it is none."""
    return said if isinstance(said, int) and 0 <= said < 1 << 31 else 0


async def _address(settings: ScreenSettings) -> str:
    """Return where the bus of accessibility is: the session's bus knows, and so may the X server."""
    session = session_bus(settings)
    if session:
        async with on_bus(session) as bus:
            try:
                return str((await bus.ask(_LAUNCHER, _ADDRESS, timeout_s=_START_S))[0])
            except (BusRefused, BusSilent):
                pass  # then the other way
    found = await at_the_screen(settings, _told_by_x)
    if not found:
        said = "no bus of accessibility (AT-SPI) is there: install the system's package at-spi2-core"
        raise ToolFailed("unavailable", said, retryable=True)
    return found


def _told_by_x(screen: Screen, stop: object) -> str:
    raw = screen.values(screen.root, "AT_SPI_BUS")
    return bytes(raw).decode("utf-8", "replace") if isinstance(raw, bytes) else ""
