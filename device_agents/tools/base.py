"""What a tool is: typed arguments, a typed result, an effect class, and a `run` that leaves nothing behind."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, runtime_checkable

import msgspec
from msgspec import Meta, Raw, Struct

from protocol.messages import Report
from protocol.vocabulary import Effect, ToolSpec

from ..errors import ToolFailed as ToolFailed  # tools raise it
from ..guard import Guard


class ArtifactRef(Struct, frozen=True, rename={"sha256": "$artifact"}):
    """Bytes kept by Galaxy, named by their SHA-256 (hex). Stands in results and arguments."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]  # it becomes the name of a file
    bytes: Annotated[int, Meta(ge=0)]
    media_type: str = "application/octet-stream"


class ArtifactShelf(Protocol):
    """Where a tool puts bytes that are too many for a result, and finds those that its arguments name."""

    async def put(self, path: Path, media_type: str) -> ArtifactRef:
        """Return the reference once the file's bytes are safe with Galaxy; the file may then go."""

    async def fetch(self, ref: ArtifactRef) -> Path:
        """Return a local, verified, read-only copy; raise ToolFailed."""


class Steps(Protocol):
    """How a tool calls other tools of its device, as steps of its own attempt."""

    def tools(self) -> Mapping[str, "Tool"]:
        """Return those that the guard allows, by name."""

    async def run(self, step: int, tool: str, arguments: Raw, progress: Callable[[str, float | None], None]) -> Report:
        """Return how the call went; raise ToolFailed when the attempt must end because it cannot be written down."""


@dataclass(slots=True)
class Grace:
    """How long a call has to end once it is cancelled; whoever cancels it says so first. None: as its tool thinks fit.

    Cancelled a second time, it has none left.
    """

    s: float | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool may use besides its arguments."""

    attempt: str
    guard: Guard
    scratch: Path  # a folder of this attempt's own: whoever needs it makes it, and it is removed when the attempt ends
    shelf: ArtifactShelf
    progress: Callable[[str, float | None], None]  # a note for people, and a fraction of 1 if known
    steps: Steps | None = None  # where there is an agent to run them
    grace: Grace = field(default_factory=Grace)


class Tool(Protocol):
    """Something this device can do.

    `run` gets an instance of `Arguments`, returns one of `Result`, raises ToolFailed, and when it is cancelled leaves
    nothing running. It may not block the loop: what blocks goes to `asyncio.to_thread`. One that can tell by itself
    whether it works is `Probed` as well.
    """

    @property
    def name(self) -> str: ...
    @property
    def effect(self) -> Effect: ...
    @property
    def limits(self) -> dict[str, int | float]: ...
    @property
    def Arguments(self) -> type[Struct]: ...
    @property
    def Result(self) -> Any: ...  # a Struct; or Any, where it is what the call asks for

    async def run(self, arguments: Any, context: Context) -> Any:
        """Do it."""


@runtime_checkable
class Probed(Protocol):
    """A tool that can tell whether it works on this device just now."""

    async def probe(self, guard: Guard) -> None:
        """Raise ToolFailed if no call of it could work. Changes nothing that lasts, and takes a moment at most."""


Service = Callable[[], Coroutine[Any, Any, None]]


@runtime_checkable
class Serving(Protocol):
    """A tool for which the agent does something all the time, with or without a galaxy."""

    def services(self, guard: Guard) -> list[Service]:
        """Return what is to run for as long as the agent does. One that ends or fails is begun again."""


@runtime_checkable
class Described(Protocol):
    """A tool whose schemas are not made of types of this program."""

    def spec(self) -> ToolSpec:
        """Return what the device tells Galaxy about it."""


def spec_of(tool: Tool) -> ToolSpec:
    """Return what the device tells Galaxy about the tool; the class's docstring is its description."""
    if isinstance(tool, Described):
        return tool.spec()
    return ToolSpec(
        name=tool.name,
        description=(type(tool).__doc__ or "").strip(),
        effect=tool.effect,
        arguments=Raw(msgspec.json.encode(msgspec.json.schema(tool.Arguments))),
        result=Raw(msgspec.json.encode(msgspec.json.schema(tool.Result))),
        limits=tool.limits,
    )
