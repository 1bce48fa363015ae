"""A program that runs under its keeper: started, read to its end, and gone with all that it started."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import ToolFailed
from .base import Grace
from .beneath import told
from .spool import Spool

GRACE_S = 1.0  # between SIGTERM and SIGKILL, where nobody gives it another
KEEPER = str(Path(__file__).with_name("keeper.py"))
_KEEPER_LATE_S = 5.0  # to find and kill everything; a fork bomb takes a while
_PIECE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Launch:
    """What is started, and with what."""

    executable: Path
    argv: tuple[str, ...]
    env: dict[str, str]
    stdin: Path
    grace: Grace
    patience_s: float = GRACE_S  # the grace that it has by itself


class Program:
    """A program under its keeper. What stops it: `gone`, and the end of this process, however that comes about."""

    def __init__(self, launch: Launch, *, cwd: str) -> None:
        self._name = launch.argv[0]
        self._grace = launch.grace
        self._patience_s = launch.patience_s
        self._failure: ToolFailed | None = None
        self._pipes: list[asyncio.ReadTransport] = []
        ours, theirs = socket.socketpair()
        keeper = [sys.executable, "-I", "-S", KEEPER, str(theirs.fileno()), str(launch.patience_s)]
        with ExitStack() as opened:
            opened.enter_context(ours)
            opened.enter_context(theirs)
            stdin = opened.enter_context(launch.stdin.open("rb"))
            self._keeper = subprocess.Popen(  # noqa: S603  # the guard has allowed it, and no shell reads it
                [*keeper, str(launch.executable), *launch.argv],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=launch.env,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            self._line = ours.dup()
        self._line.setblocking(False)
        self._unread = [pipe for pipe in (self._keeper.stdout, self._keeper.stderr) if pipe is not None]

    async def ended(self, stdout: Spool, stderr: Spool, *, bytes_max: int) -> int:
        """Return the exit code, or minus the signal, once the program and all that it started are gone.

        Raise ToolFailed: program_not_found, not_executable, output_too_large, killed, disk_full.
        """
        spools = (stdout, stderr)
        async with asyncio.TaskGroup() as reading:
            for spool, reader in zip(spools, await self.readers(), strict=True):
                reading.create_task(self._read(reader, spool, spools, bytes_max))
        word = await self._last_word()
        if self._failure is not None:
            raise self._failure
        return self._exit_code(word)

    async def readers(self) -> tuple[asyncio.StreamReader, asyncio.StreamReader]:
        """Return its two outputs, to be read by whoever asks first."""
        return await self._reader(self._unread[0]), await self._reader(self._unread[0])

    async def gone(self) -> None:
        """Return once nothing of it runs any more: SIGTERM to everything, SIGKILL after the grace.

        Cancelled meanwhile, the grace is over.
        """
        hurried = False
        wait_s = self._stop() + _KEEPER_LATE_S
        word = asyncio.get_running_loop().create_task(self._last_word())
        try:
            while True:
                try:
                    ended, _ = await asyncio.wait([word], timeout=wait_s)
                    break
                except asyncio.CancelledError:
                    hurried, wait_s = True, _KEEPER_LATE_S
                    self._tell(0.0)
            if not ended:
                word.cancel()
                await asyncio.wait([word])
                self._keeper.kill()  # which kills the program too, if not all that it started
        finally:
            for pipe in self._pipes:
                pipe.close()
            for unread in self._unread:
                unread.close()
            self._line.close()
        self._keeper.wait()  # the line ends with the keeper, so this finds it ended
        if hurried:
            raise asyncio.CancelledError

    def hurry(self) -> None:
        """Tell it to end, without waiting for that."""
        self._stop()

    def _stop(self) -> float:
        """Return within how many seconds the keeper will have begun to kill."""
        grace_s = self._patience_s if self._grace.s is None else self._grace.s
        self._tell(grace_s)
        return grace_s

    def _tell(self, grace_s: float) -> None:
        with suppress(OSError):  # the keeper has ended already
            self._line.send(f"{grace_s}\n".encode())

    async def _reader(self, pipe: IO[bytes]) -> asyncio.StreamReader:
        reader = asyncio.StreamReader(limit=_PIECE_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        self._pipes.append(transport)
        self._unread.remove(pipe)
        return reader

    async def _read(
        self, reader: asyncio.StreamReader, spool: Spool, spools: tuple[Spool, ...], bytes_max: int
    ) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            if self._failure is not None:
                continue  # read and forgotten, so that whoever writes meets the signal and not a full pipe
            try:
                if sum(each.count for each in spools) + len(piece) > bytes_max:
                    raise ToolFailed("output_too_large", f"{self._name} wrote more than {bytes_max} bytes")
                with told("the output"):
                    await spool.write(piece)
            except ToolFailed as exc:
                self._failure = exc
                self._stop()

    async def _last_word(self) -> bytes:
        """Return what the keeper says before it ends."""
        loop = asyncio.get_running_loop()
        said = b""
        while piece := await loop.sock_recv(self._line, 1024):
            said += piece
        return said

    def _exit_code(self, word: bytes) -> int:
        match word.decode().split():
            case ["exit", code]:
                return int(code)
            case ["signal", number]:
                return -int(number)
            case ["error", number, *_]:
                if int(number) == errno.ENOENT:
                    raise ToolFailed("program_not_found", f"{self._name} or what its first line names is not there")
                raise ToolFailed("not_executable", f"{self._name}: {os.strerror(int(number))}")
        raise ToolFailed("killed", f"{self._name} was killed together with its keeper", retryable=True)
