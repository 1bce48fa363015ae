"""An MCP server that is a program of this device, over its standard input and output.

The library's own transport waits for the end of a line however long it is; here a line has a limit, so that a server
cannot fill the agent's memory, and the server is gone with all that it started when the connection ends.
"""

import asyncio
import os
import shutil
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from ...errors import ToolFailed
from .. import wanted
from ..blocking import unblocked
from ..program import KEEPER
from .settings import McpSettings

LINE_BYTES_MAX = 16 << 20
_GRACE_S = 1.0
_KEEPER_LATE_S = 5.0  # to find and kill everything
_TAIL_BYTES = 2_000
_PIECE_BYTES = 64 << 10
_KEPT_VARIABLES = ("HOME", "USER", "LOGNAME", "PATH", "LANG", "TZ", "TMPDIR", "SYSTEMROOT")


class Words:
    """The last that a server has said on its standard error."""

    def __init__(self) -> None:
        self.tail = b""

    def __str__(self) -> str:
        last = self.tail.decode("utf-8", "replace").strip().splitlines()
        return f": {last[-1][:300]}" if last else ""


@asynccontextmanager
async def opened(settings: McpSettings, words: Words, left: asyncio.Event) -> AsyncIterator[Any]:
    """Yield the streams that the library's client reads and writes; raise ToolFailed not_installed, unavailable.

    `left` is set when the server has ended by itself.
    """
    anyio = wanted.library("anyio", "mcp")
    process, line = await _started(settings)
    to_client, from_server = anyio.create_memory_object_stream(0)
    to_server, from_client = anyio.create_memory_object_stream(0)
    tasks = [
        asyncio.create_task(_read(process, to_client)),
        asyncio.create_task(_write(process, from_client, to_client)),
        asyncio.create_task(_listen(process, words)),
    ]
    tasks[0].add_done_callback(lambda _: left.set())
    try:
        yield from_server, to_server
    finally:
        for stream in (from_server, to_server):
            stream.close()
        for task in tasks:
            task.cancel()
        await _whatever_comes(asyncio.wait(tasks))
        await _whatever_comes(_ended(process, line))
        for stream in (to_client, from_client):
            stream.close()


async def _started(settings: McpSettings) -> tuple[Process, socket.socket]:
    """Return the server under its keeper, and our end of the keeper's line: once it is closed, all of it is ended."""
    kept_names = _KEPT_VARIABLES + settings.env_from
    env = {name: value for name in kept_names if (value := os.environ.get(name)) is not None} | settings.env
    executable = await unblocked(lambda _: _executable(settings, env))
    ours, theirs = socket.socketpair()
    keeper = (sys.executable, "-I", "-S", KEEPER, str(theirs.fileno()), str(_GRACE_S), executable)
    try:
        process = await asyncio.create_subprocess_exec(
            *(keeper if sys.platform != "win32" else ()),
            *settings.command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE if sys.platform != "win32" else DEVNULL,
            cwd=settings.cwd or None,
            env=env,
            limit=LINE_BYTES_MAX,
            pass_fds=[theirs.fileno()] if sys.platform != "win32" else (),
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        ours.close()
        raise ToolFailed("unavailable", f"{settings.command[0]} cannot be started: {exc}", retryable=True) from exc
    finally:
        theirs.close()
    return process, ours


def _executable(settings: McpSettings, env: Mapping[str, str]) -> str:
    name = settings.command[0]
    found = shutil.which(os.path.join(settings.cwd, name) if os.path.dirname(name) else name, path=env.get("PATH"))
    if found is None:
        said = f"{name} cannot be started: there is no such program; `command` in agent.toml names it"
        raise ToolFailed(wanted.MISSING, said)
    return os.path.abspath(found)


async def _read(process: Process, to_client: Any) -> None:
    anyio, types = wanted.library("anyio", "mcp"), wanted.library("mcp.types", "mcp")
    message_of = wanted.library("mcp.shared.message", "mcp").SessionMessage
    assert process.stdout is not None
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        try:
            while line := await process.stdout.readline():
                if line.strip():
                    with suppress(ValueError):  # a line that is no message: a server's stray print
                        message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                        await to_client.send(message_of(message))
        except (ValueError, ConnectionError):  # a line that is too long: the rest of it cannot be told from the next
            pass
        finally:
            to_client.close()


async def _write(process: Process, from_client: Any, to_client: Any) -> None:
    assert process.stdin is not None
    try:
        async for message in from_client:
            process.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
            await process.stdin.drain()
    except (ConnectionError, OSError):
        to_client.close()


async def _listen(process: Process, words: Words) -> None:
    if process.stderr is None:
        return
    while piece := await process.stderr.read(4_096):
        words.tail = (words.tail + piece)[-_TAIL_BYTES:]


async def _ended(process: Process, line: socket.socket) -> None:
    """Close its input, which asks it to end; then let its keeper end it, and all that it has started."""
    if process.stdin is not None:
        process.stdin.close()
    ending = asyncio.create_task(_read_out(process))
    await asyncio.wait([ending], timeout=_GRACE_S)
    line.close()
    if sys.platform == "win32":
        process.kill()
    await asyncio.wait([ending], timeout=_GRACE_S + _KEEPER_LATE_S)
    if not ending.done():  # the keeper hangs, or somebody has got away with a pipe
        ending.cancel()
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.wait([ending])


async def _read_out(process: Process) -> None:
    """Return when it has ended. Its outputs are read to their ends: a full pipe would hide that it has."""
    for pipe in (process.stdout, process.stderr):
        while pipe is not None and await pipe.read(_PIECE_BYTES):
            pass
    await process.wait()


async def _whatever_comes(work: Coroutine[Any, Any, Any]) -> None:
    """Finish the work; a cancellation meanwhile does not end it, for it would leave a program running."""
    doing = asyncio.create_task(work)
    while not doing.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([doing])
