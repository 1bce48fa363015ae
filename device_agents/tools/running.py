"""A program run to its end within a call: its environment, its outputs, its deadline."""

import asyncio
import os
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import ToolFailed
from ..guard import Guard, Place
from .base import ArtifactRef, Context
from .beneath import folder, told
from .program import Launch, Program
from .spool import Spool

T = TypeVar("T")

OUTPUT_INLINE_MAX = 24 << 10  # of each of the two streams
_LAST_WORDS_CHARS = 500
_KEPT_VARIABLES = ("HOME", "USER", "LOGNAME", "LANG", "TZ")  # not the agent's whole environment: it may hold secrets


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended, and what it wrote."""

    exit_code: int
    stdout: Spool
    stderr: Spool

    @property
    def words(self) -> Spool:
        """What it said of a failure: programs differ in where they say it."""
        return self.stderr if self.stderr.count else self.stdout


def environment(guard: Guard, scratch: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a program gets: few of the agent's own, and those of the call."""
    env = {name: value for name in _KEPT_VARIABLES if (value := os.environ.get(name))}
    return {"LANG": "C.UTF-8", **env, "PATH": guard.program_path, "TMPDIR": str(scratch), **more}


async def ran(launch: Launch, place: Place, context: Context, timeout_s: float) -> Ran:
    """Return how the program ended that ran in the folder; raise ToolFailed as `Program.ended` does, or timeout."""
    stdout = Spool(context.scratch / "stdout", head_bytes_max=OUTPUT_INLINE_MAX)
    stderr = Spool(context.scratch / "stderr", head_bytes_max=OUTPUT_INLINE_MAX)
    with told(place.path), folder(place) as opened, told(launch.argv[0]):
        program = Program(launch, cwd=named(opened, place.path))
    try:
        async with asyncio.timeout(timeout_s):
            code = await program.ended(stdout, stderr, bytes_max=context.guard.limits.output_bytes)
            return Ran(code, stdout, stderr)
    except TimeoutError:
        message = f"{launch.argv[0]} was stopped after {timeout_s:g} s{last_words(stderr)}"
        raise ToolFailed("timeout", message, retryable=True) from None
    finally:
        await program.gone()


async def side_by_side(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, T]) -> tuple[T, T]:
    """Return what both return; what one of them raises ends the other, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(first), group.create_task(second)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return running[0].result(), running[1].result()


def named(folder: int, path: Path) -> str:
    """Return a name of the open folder that no link can turn elsewhere, where the system has such names."""
    return f"/proc/self/fd/{folder}" if os.path.exists("/proc/self/fd") else str(path)


def exit_nonzero(name: str, exit_code: int, output: Spool) -> ToolFailed:
    """Return the failure of a program that did not end well, with the last that it said."""
    how = f"exit code {exit_code}" if exit_code > 0 else f"signal {-exit_code}"
    return ToolFailed("exit_nonzero", f"{name} ended with {how}{last_words(output)}", retryable=True)


def last_words(output: Spool) -> str:
    """Return the end of the output, to stand behind a message."""
    text = output.tail.decode("utf-8", "replace").strip()[-_LAST_WORDS_CHARS:]
    return f": {text}" if text else ""


async def kept(output: Spool, context: Context) -> tuple[str, ArtifactRef | None]:
    """Return what of the output a result can hold, and where all of it is if that is not everything."""
    text = output.text(OUTPUT_INLINE_MAX)
    return text, None if output.is_said_by(text) else await output.artifact(context.shelf, "text/plain")
