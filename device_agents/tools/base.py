"""What a tool is: typed arguments, a typed result, an effect class, and a `run` that leaves nothing behind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

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


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool may use besides its arguments."""

    attempt: str
    guard: Guard
    scratch: Path  # a folder of this attempt's own: whoever needs it makes it, and it is removed when the attempt ends
    shelf: ArtifactShelf
    progress: Callable[[str, float | None], None]  # a note for people, and a fraction of 1 if known
    steps: Steps | None = None  # where there is an agent to run them


class Tool(Protocol):
    """Something this device can do.

    `run` gets an instance of `Arguments`, returns one of `Result`, raises ToolFailed, and when it is cancelled leaves
    nothing running. It may not block the loop: what blocks goes to `asyncio.to_thread`.
    """

    name: ClassVar[str]
    effect: ClassVar[Effect]
    limits: ClassVar[dict[str, int | float]]
    Arguments: ClassVar[type[Struct]]
    Result: ClassVar[Any]  # a Struct; or Any, where it is what the call asks for

    async def run(self, arguments: Any, context: Context) -> Any:
        """Do it."""


def spec_of(tool: Tool) -> ToolSpec:
    """Return what the device tells Galaxy about the tool; the class's docstring is its description."""
    return ToolSpec(
        name=tool.name,
        description=(type(tool).__doc__ or "").strip(),
        effect=tool.effect,
        arguments=Raw(msgspec.json.encode(msgspec.json.schema(tool.Arguments))),
        result=Raw(msgspec.json.encode(msgspec.json.schema(tool.Result))),
        limits=tool.limits,
    )
