"""What the tests of the agent stand on: assignments by name, and tools that wait, fail and answer as told."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from msgspec import Raw, Struct

from device_agents.guard import Guard, Policy
from device_agents.tools.base import Context, Grace, Tool
from device_agents.work import Bench, Journal, work
from protocol.messages import Assign, Report
from protocol.vocabulary import Effect, Outcome

from .tools.bench import FolderShelf

PURE, IDEMPOTENT, ONCE, INTERACTIVE = Effect


def assign(attempt: str = "c/star#1", effect: Effect = PURE, tool: str = "test.tool", **more: Any) -> Assign:
    arguments = Raw(msgspec.json.encode(more.pop("arguments", {})))
    return Assign(attempt, tool, arguments, effect, **{"run_s": 0.0, **more})


def succeeded(attempt: str = "c/star#1", result: bytes = b"1") -> Report:
    return Report(attempt, Outcome.SUCCEEDED, Raw(result))


def cancelled(attempt: str = "c/star#1") -> Report:
    return Report(attempt, Outcome.CANCELLED)


async def worked(order: Assign, bench: Bench, hear: Callable[[str, float | None], None]) -> Report:
    """Return the report of a call that goes in no steps, or whose journal is of no interest."""
    journal = Journal(lambda attempt, step, tool: None, lambda attempt, step, outcome: None)
    return await work(order, bench, hear, journal, Grace())


class Words(Struct, frozen=True):
    """Arguments and result of the tools below."""

    text: Any = ""


Doing = Callable[[Words, Context], Awaitable[Any]]


class ToolOf:
    """A tool that does what the test says."""

    name: ClassVar[str] = "test.tool"
    effect: ClassVar[Effect] = PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = Words
    Result: ClassVar[type[Struct]] = Words

    def __init__(self, doing: Doing) -> None:
        self._doing = doing

    async def run(self, arguments: Words, context: Context) -> Any:
        return await self._doing(arguments, context)


class Gate:
    """A tool's doing that says when it was begun, and ends when it is let go."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, words: Words, context: Context) -> Words:
        self.begun.append(context.attempt)
        self.began.set()
        await self.go.wait()
        return words


def bench_of(folder: Path, *tools: Tool, policy: Policy | None = None) -> Bench:
    """Return a bench with these tools; the later of one name wins."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    guard = Guard(policy or Policy(), work)
    return Bench({tool.name: tool for tool in tools}, guard, folder / "scratch", FolderShelf(folder / "shelf"))


@asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, Any]) -> AsyncIterator[list["asyncio.Task[Any]"]]:
    """Run these beside the test, and cancel what is left of them at its end."""
    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(coroutine) for coroutine in coroutines]
        try:
            yield started
        finally:
            for task in started:
                task.cancel()


async def turns(count: int = 3) -> None:
    """Let the loop go round."""
    for _ in range(count):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future


@contextmanager
def full_disk() -> Iterator[None]:
    """Let every write to a file of this process fail, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
