"""The tool that keeps a shell open: what one star leaves in it (a folder, variables, an environment) the next finds.

A session belongs to one constellation, ends when nobody has used it for a while, and takes all with it that it started.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from asyncio import StreamReader
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard, Place
from ..base import ArtifactRef, Context, Grace
from ..beneath import folder, told
from ..blocking import unblocked
from ..files import PathText
from ..program import Launch, Program
from ..running import OUTPUT_INLINE_MAX, environment, exit_nonzero, kept, named, side_by_side
from ..shell import Word
from ..spool import Spool

SESSIONS_MAX = 8
_PIECE_BYTES = 64 << 10
_Key = tuple[str, str]  # a constellation, and the session's name in it


class SessionArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which session, and what is done in it."""

    session: Annotated[
        str, Meta(pattern="^[A-Za-z0-9_.-]{1,60}$", description="A name in this constellation; opened if it is new.")
    ]
    shell: Annotated[Word, Meta(description="A command line, for the session's /bin/sh. Empty: none.")] = ""
    cwd: Annotated[PathText, Meta(description="The folder that a new session opens in.")] = "."
    timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="After it, the session is ended.")] = 60
    check: Annotated[bool, Meta(description="Whether an exit code other than 0 is a failure.")] = True
    close: Annotated[bool, Meta(description="Whether the session ends with this call.")] = False


class SessionResult(Struct, frozen=True, omit_defaults=True):
    """How the command line went. Output that is too long is cut, and whole in the artifact."""

    exit_code: int
    stdout: str
    stderr: str
    opened: Annotated[bool, Meta(description="Whether the session is new.")]
    closed: Annotated[bool, Meta(description="Whether it has ended.")]
    stdout_artifact: ArtifactRef | None = None
    stderr_artifact: ArtifactRef | None = None


class ShellSession:
    """Run a command line in a shell that stays open for the next star of the constellation, by its name."""

    name: ClassVar[str] = "shell.session"
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {"sessions": SESSIONS_MAX, "inline_bytes": OUTPUT_INLINE_MAX}
    Arguments: ClassVar[type[Struct]] = SessionArguments
    Result: ClassVar[type[Struct]] = SessionResult

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._sessions: dict[_Key, _Session] = {}
        self._opening: set[_Key] = set()

    async def probe(self, guard: Guard) -> None:
        guard.check_shell()

    async def run(self, arguments: SessionArguments, context: Context) -> SessionResult:
        context.guard.check_timeout(arguments.timeout_s)
        context.guard.check_shell()
        key = (context.attempt.partition("/")[0], arguments.session)
        session, opened = self._sessions.get(key), False
        if key in self._opening or (session is not None and session.is_busy):
            raise ToolFailed("session_busy", f"another star is using the session {arguments.session}", retryable=True)
        if session is None:
            session, opened = await self._opened(key, arguments, context), True
        stays = False
        session.begin()
        try:
            stdout = Spool(context.scratch / "stdout", head_bytes_max=OUTPUT_INLINE_MAX)
            stderr = Spool(context.scratch / "stderr", head_bytes_max=OUTPUT_INLINE_MAX)
            bytes_max = context.guard.limits.output_bytes
            async with asyncio.timeout(arguments.timeout_s):
                exit_code = await session.said(arguments.shell, stdout, stderr, bytes_max)
            stays = exit_code is not None and not arguments.close
        except TimeoutError:
            raise ToolFailed(
                "timeout", f"the session was ended after {arguments.timeout_s:g} s", retryable=True
            ) from None
        finally:
            if stays:
                session.rest(self._idle_s)
            else:
                await self._ended(key, session, context.grace)
        out, out_artifact = await kept(stdout, context)
        err, err_artifact = await kept(stderr, context)
        if exit_code is None and not arguments.close:
            raise ToolFailed("session_ended", f"the shell ended in the middle: {err or out}"[:500])
        if exit_code and arguments.check:
            raise exit_nonzero("the command line", exit_code, stderr if stderr.count else stdout)
        return SessionResult(exit_code or 0, out, err, opened, not stays, out_artifact, err_artifact)

    async def _opened(self, key: _Key, arguments: SessionArguments, context: Context) -> "_Session":
        self._opening.add(key)
        try:
            if len(self._sessions) + len(self._opening) > SESSIONS_MAX:
                idle = [(each.since, other) for other, each in self._sessions.items() if not each.is_busy]
                if not idle:
                    raise ToolFailed("too_many_sessions", f"{SESSIONS_MAX} sessions are in use", retryable=True)
                oldest = min(idle)[1]
                await self._ended(oldest, self._sessions[oldest], Grace())
            session = await self._started(key, context.guard.readable(arguments.cwd), context)
            self._sessions[key] = session
        finally:
            self._opening.discard(key)
        return session

    async def _started(self, key: _Key, place: Place, context: Context) -> "_Session":
        own, line = await unblocked(lambda _: Path(tempfile.mkdtemp(prefix="galaxy-session-"))), -1
        try:
            said = own / "said"
            os.mkfifo(said, 0o600)
            line = os.open(said, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # both ends, so that opening never waits
            env = environment(context.guard, own, {})
            launch = Launch(Path("/bin/sh"), ("sh",), env, said, Grace())
            with told(place.path), folder(place) as opened:
                program = Program(launch, cwd=named(opened, place.path))
        except BaseException:
            if line >= 0:
                os.close(line)
            shutil.rmtree(own, ignore_errors=True)
            raise
        session = _Session(program, line, own, lambda session: self._expired(key, session))
        try:
            await session.open()
        except BaseException:
            await session.end()
            raise
        return session

    def _expired(self, key: _Key, session: "_Session") -> None:
        if self._sessions.get(key) is session and not session.is_busy:
            del self._sessions[key]  # at once: a call that comes now may not get it
            session.ending = asyncio.get_running_loop().create_task(session.end())

    async def _ended(self, key: _Key, session: "_Session", grace: Grace) -> None:
        if self._sessions.get(key) is session:
            del self._sessions[key]
        await session.end()


class _Session:
    """One shell that waits for lines."""

    def __init__(self, program: Program, line: int, own: Path, expire: Callable[["_Session"], None]) -> None:
        self.is_busy = False
        self.since = time.monotonic()
        self.ending: asyncio.Task[None] | None = None
        self._program = program
        self._line = line
        self._own = own
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._outputs: tuple[StreamReader, StreamReader] | None = None

    async def open(self) -> None:
        self._outputs = await self._program.readers()

    def begin(self) -> None:
        self.is_busy = True
        if self._timer is not None:
            self._timer.cancel()

    def rest(self, idle_s: float) -> None:
        self.is_busy, self.since = False, time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(idle_s, self._expire, self)

    async def said(self, command: str, stdout: Spool, stderr: Spool, bytes_max: int) -> int | None:
        """Return the exit code of the command line, or None if the shell ended with it."""
        assert self._outputs is not None
        mark = f"galaxy-{secrets.token_hex(12)}"
        script = self._own / "command"
        await unblocked(lambda _: script.write_text(command + "\n", "utf-8"))
        # `command` keeps a mistake in the script from ending the shell; a script may not read what is said to the shell
        begun = f"command . '{script}' </dev/null" if command else ":"
        line = f"{begun}; printf '\\n{mark} %d\\n' $?; printf '\\n{mark}\\n' >&2\n"
        os.write(self._line, line.encode())
        room = [bytes_max]
        reading = [
            _read_to(mark.encode(), output, spool, room)
            for output, spool in zip(self._outputs, (stdout, stderr), strict=True)
        ]
        said, _ = await side_by_side(*reading)
        return None if said is None else int(said or b"0")

    async def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._program.hurry()
        with suppress(OSError):
            os.close(self._line)
        self._line = -1
        try:
            await self._program.gone()
        finally:  # where its command lines have left what they like
            await unblocked(lambda _: shutil.rmtree(self._own, ignore_errors=True))


async def _read_to(mark: bytes, output: StreamReader, spool: Spool, room: list[int]) -> bytes | None:
    """Return what stands behind the mark, once all before it is in the spool; None if the output ends first."""
    held, begun = b"", b"\n" + mark
    while True:
        at = held.find(begun)
        if at >= 0 and (end := held.find(b"\n", at + 1)) >= 0:
            await _take(held[:at], spool, room)
            return held[at + len(begun) : end].strip()
        if at < 0 and len(held) > len(begun):
            await _take(held[: -len(begun)], spool, room)
            held = held[-len(begun) :]
        piece = await output.read(_PIECE_BYTES)
        if not piece:
            await _take(held, spool, room)
            return None
        held += piece


async def _take(piece: bytes, spool: Spool, room: list[int]) -> None:
    room[0] -= len(piece)
    if room[0] < 0:
        raise ToolFailed("output_too_large", "the command line wrote more than limits.output_bytes in guard.toml")
    with told("the output"):
        await spool.write(piece)
