"""What a planner is, and what it is shown. A view is a value: it does not change while the planner thinks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Raw

from protocol.vocabulary import Failure, ToolSpec

from ..core.edit import Edit
from ..core.goal import Answer, Fact, Goal, Grant, Usage
from ..core.star import Line, Star
from ..core.states import StarState


class PlannerFailed(Exception):
    """The planner could not be asked, or has given nothing usable; the message is for people."""


class NoAnswer(Exception):
    """The planner was asked, and knows nothing to do."""


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device as a planner sees it: only what the constellation is granted."""

    id: str
    kind: str
    presence: str
    labels: dict[str, str]
    slots: int
    held: int
    tools: tuple[ToolSpec, ...]
    draining: str = ""


@dataclass(frozen=True, slots=True)
class FleetView:
    """The devices that are granted, and for each tool those that placement would choose now, the best first."""

    devices: tuple[DeviceView, ...]
    placement: dict[str, tuple[str, ...]]
    refused: dict[str, dict[str, str]] = field(default_factory=dict)  # tool -> device -> why not

    def tools(self) -> dict[str, ToolSpec]:
        """Return each tool once, as the first device that has it describes it."""
        found: dict[str, ToolSpec] = {}
        for device in self.devices:
            for tool in device.tools:
                found.setdefault(tool.name, tool)
        return found


@dataclass(frozen=True, slots=True)
class TryView:
    """One attempt that failed: where, and why in full."""

    number: int
    device: str
    outcome: str
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class StarView:
    """A star as a planner sees it."""

    star: Star
    state: StarState
    editable: bool  # it has not started
    failure_held: bool  # it failed for good, and is kept for the answer
    sources: tuple[Line, ...]
    device: str = ""  # of the last attempt
    result: Raw | None = None
    failure: Failure | None = None
    cause: str = ""
    tries: tuple[TryView, ...] = ()
    changed: bool = False  # it has moved since the planner's last answer


@dataclass(frozen=True, slots=True)
class View:
    """A constellation as a planner sees it, at a revision."""

    constellation: str
    goal: Goal | None
    revision: int
    stars: dict[str, StarView]
    fleet: FleetView
    grant: Grant
    consult: int = 0
    refusals: tuple[str, ...] = ()  # why its answers to this very question were not accepted, the last one last
    patches: tuple[str, ...] = ()  # reasons of the edits that planners have made, the oldest first


class Meter(Protocol):
    """Where a planner accounts for its calls of a model."""

    async def reserve(self, tokens: int, money: float) -> str:
        """Set aside what a call may cost at most and return the call's id; raise PlannerFailed over the budget."""

    async def settle(self, call: str, usage: Usage) -> None:
        """Record what the call did cost."""

    async def thought(self, text: str) -> None:
        """Let people see what the model says of its reasoning."""


class Planner(Protocol):
    """Whoever plans. Cancelled when nobody waits for the answer any more."""

    async def plan(self, view: View, meter: Meter) -> Edit:
        """Return the constellation for the goal; raise PlannerFailed or NoAnswer."""

    async def revise(self, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
        """Return what to make of the facts; raise PlannerFailed or NoAnswer."""
