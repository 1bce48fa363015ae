"""The services that run commands: `shell:`, `shell,v2:` and `exec:`.

A command line is read by a real shell, so that what is quoted badly does its harm here as on a phone. It is Bash,
restricted: of programs it finds those of the phone only, and it writes no file of this machine.
"""

import asyncio
import os
import shutil
import signal
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .wire import Stream

_STDIN, _STDOUT, _STDERR, _EXIT, _CLOSE_STDIN = range(5)
_PIECE_BYTES = 64 << 10
_BASH = shutil.which("bash") or "bash"


@dataclass(frozen=True, slots=True)
class Shell:
    """How the phone's shell is started."""

    programs: Path
    folder: Path
    control: int  # the port where the programs find the phone

    async def started(self, command: str, *, merged: bool) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *(_BASH, "--noprofile", "--norc", "-r", *(["-c", command] if command else ["-s"])),
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT if merged else pipe,
            cwd=self.folder,
            env={"PATH": str(self.programs), "HOME": "/", "PHONE": str(self.control)},
            start_new_session=True,
        )

    async def raw(self, stream: Stream, command: str) -> None:
        """Run the command with the stream as its input and both of its outputs."""
        process = await self.started(command, merged=True)
        assert process.stdout is not None
        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(_fed(stream, process))
                await _copied(process.stdout, stream.write)
                feeding.cancel()
            await process.wait()
        finally:
            _ended(process)

    async def in_packets(self, stream: Stream, command: str) -> None:
        """Run the command; its outputs and its exit code come in packets of their own kind."""
        process = await self.started(command, merged=False)
        assert process.stdout is not None
        assert process.stderr is not None

        turn = asyncio.Lock()

        async def say(kind: int, piece: bytes) -> None:
            async with turn:
                await stream.write(struct.pack("<BI", kind, len(piece)) + piece)

        try:
            async with asyncio.TaskGroup() as group:
                feeding = group.create_task(_fed_by_packets(stream, process))
                reading = group.create_task(_copied(process.stderr, partial(say, _STDERR)))
                await _copied(process.stdout, partial(say, _STDOUT))
                await reading
                feeding.cancel()
            code = await process.wait()
            await say(_EXIT, bytes([code & 0xFF if code >= 0 else 128 - code]))
        finally:
            _ended(process)


async def _copied(reader: asyncio.StreamReader, say: Callable[[bytes], Awaitable[None]]) -> None:
    while piece := await reader.read(_PIECE_BYTES):
        await say(piece)


async def _fed(stream: Stream, process: asyncio.subprocess.Process) -> None:
    while piece := await stream.read():
        await _put(process, piece)


async def _fed_by_packets(stream: Stream, process: asyncio.subprocess.Process) -> None:
    while True:
        kind, length = struct.unpack("<BI", await stream.exactly(5))
        piece = await stream.exactly(length)
        if kind == _STDIN:
            await _put(process, piece)
        elif kind == _CLOSE_STDIN:
            assert process.stdin is not None
            process.stdin.close()


async def _put(process: asyncio.subprocess.Process, piece: bytes) -> None:
    assert process.stdin is not None
    with suppress(OSError, RuntimeError):  # it reads no more
        process.stdin.write(piece)
        await process.stdin.drain()


def _ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
