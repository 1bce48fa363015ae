"""What the tests of the tools stand on: a context with a folder of its own, a shelf that keeps bytes, a way to call."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_agents.errors import ToolFailed
from device_agents.guard import Guard, Policy
from device_agents.tools.base import ArtifactRef, Context, Tool
from device_agents.tools.blocking import unblocked


class FolderShelf:
    """Keeps artifacts in a folder, by their SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    async def put(self, path: Path, media_type: str) -> ArtifactRef:
        return await unblocked(lambda _: self.keep(path.read_bytes(), media_type))

    async def fetch(self, ref: ArtifactRef) -> Path:
        return self.folder / ref.sha256

    def keep(self, content: bytes, media_type: str = "application/octet-stream") -> ArtifactRef:
        ref = ArtifactRef(hashlib.sha256(content).hexdigest(), len(content), media_type)
        (self.folder / ref.sha256).write_bytes(content)
        return ref

    def content(self, ref: ArtifactRef) -> bytes:
        return (self.folder / ref.sha256).read_bytes()


class Bench:
    """A device's folders below `folder`: `work` for the tools, `outside` for what they may not reach."""

    def __init__(self, folder: Path, policy: Policy | None = None) -> None:
        self.work = folder / "work"
        self.outside = folder / "outside"
        self.work.mkdir()
        self.outside.mkdir()
        self.shelf = FolderShelf(folder / "shelf")
        self.guard = Guard(policy or Policy(), self.work)
        self.peer: Any = None  # what the tool talks to, where it talks to something
        self.context = Context(
            "c/star#1", self.guard, folder / "scratch" / "star", self.shelf, lambda note, fraction: None
        )

    def call(self, tool: Tool, **arguments: object) -> Any:
        """Return the tool's result, as JSON would carry it."""
        return asyncio.run(self.run(tool, **arguments))

    async def run(self, tool: Tool, **arguments: object) -> Any:
        result = await tool.run(msgspec.convert(arguments, tool.Arguments), self.context)
        encoded = msgspec.json.encode(result)
        assert len(encoded) <= 64 << 10
        assert msgspec.json.decode(encoded, type=tool.Result) == result
        return result


@contextmanager
def failing(code: str, *words: str, retryable: bool = False) -> Iterator[None]:
    """Expect ToolFailed with this code, and these words in its message."""
    with pytest.raises(ToolFailed) as caught:
        yield
    failure = caught.value.failure
    assert (failure.code, failure.retryable) == (code, retryable), failure.message
    assert [word for word in words if word not in failure.message] == [], failure.message
