"""The tools that look at services and at what they log: systemd's, and plain files from their end."""

import os
import re
from collections import deque
from pathlib import Path
from typing import Annotated, Any, BinaryIO, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard, Place
from ..base import Context
from ..beneath import regular_file, shown, told
from ..blocking import Stop, unblocked
from ..files import PathText
from ..program import Launch
from ..running import Ran, environment, exit_nonzero, ran
from ..spool import INLINE_BYTES_MAX
from ..wanted import program

LINES_MAX = 1_000
READ_BYTES_MAX = 8 << 20
_LINE_CHARS_MAX = 2_000
_TIMEOUT_S = 20.0
_SHOWN = (
    "Id",
    "Description",
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "MainPID",
    "NRestarts",
    "Result",
)
UnitName = Annotated[str, Meta(max_length=200, pattern="^[A-Za-z0-9:_.@][A-Za-z0-9:_.@\\\\-]*$", description="A unit.")]


class TailArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which file, and how much of its end."""

    path: PathText
    lines: Annotated[int, Meta(ge=1, le=LINES_MAX)] = 100
    contains: Annotated[str, Meta(max_length=500, description="Only lines with this text, in any case.")] = ""
    since: Annotated[int, Meta(ge=0, description="Only what is behind this byte: `end` of an earlier call.")] = 0


class TailResult(Struct, frozen=True):
    """The last lines."""

    lines: list[str]
    end: Annotated[int, Meta(description="Where the file ended; `since` of the next call.")]
    truncated: Annotated[bool, Meta(description="Whether older lines were left out.")]
    rotated: Annotated[bool, Meta(description="Whether the file is shorter than `since`: it was begun anew.")]


class LogTail:
    """Read the last lines of a log file, or those that came since an earlier call."""

    name: ClassVar[str] = "log.tail"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"lines": LINES_MAX, "bytes": READ_BYTES_MAX}
    Arguments: ClassVar[type[Struct]] = TailArguments
    Result: ClassVar[type[Struct]] = TailResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders())

    async def run(self, arguments: TailArguments, context: Context) -> TailResult:
        place = context.guard.readable(arguments.path)
        return await unblocked(lambda stop: self._read(arguments, place))

    def _read(self, arguments: TailArguments, place: Place) -> TailResult:
        with told(place.path), regular_file(place) as file:
            size = os.fstat(file.fileno()).st_size
            rotated = size < arguments.since
            begin = 0 if rotated else arguments.since
            start = max(begin, size - READ_BYTES_MAX)
            text, end = _whole_lines(file, start, size, cut=start > begin)
        wanted = arguments.contains.casefold()
        found = [line for line in text.splitlines() if wanted in line.casefold()]
        lines = _fitting(found[-arguments.lines :])
        return TailResult(lines, end, start > begin or len(lines) < len(found), rotated)


def _whole_lines(file: BinaryIO, start: int, size: int, *, cut: bool) -> tuple[str, int]:
    """Return the text without a line that is cut at either end, and where it ends."""
    file.seek(start)
    content = file.read(size - start)
    last = content.rfind(b"\n") + 1
    if last or len(content) < _LINE_CHARS_MAX:
        content = content[:last] if last else b""
    end = start + len(content)
    if cut:
        content = content.partition(b"\n")[2]
    return content.decode("utf-8", "replace"), end


def _fitting(lines: list[str]) -> list[str]:
    """Return the last of the lines, as many as a result can hold."""
    room, kept = INLINE_BYTES_MAX, deque[str]()
    for line in reversed(lines):
        line = shown(line[:_LINE_CHARS_MAX])
        room -= len(msgspec.json.encode(line)) + 1
        if room < 0:
            break
        kept.appendleft(line)
    return list(kept)


class JournalArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What of systemd's journal."""

    unit: UnitName | None = None
    lines: Annotated[int, Meta(ge=1, le=LINES_MAX)] = 100
    priority: Annotated[Literal["err", "warning", "notice", "info", "debug"], Meta(description="This or worse.")] = (
        "debug"
    )
    since_s: (
        Annotated[float, Meta(gt=0, le=10_000_000, description="Only the last seconds; all by default.")] | None
    ) = None


class Entry(Struct, frozen=True):
    """One entry."""

    at: Annotated[float, Meta(description="Seconds since 1970.")]
    unit: str
    priority: Annotated[int, Meta(description="0 (emergency) to 7 (debug).")]
    message: str


class JournalResult(Struct, frozen=True):
    """The last entries."""

    entries: list[Entry]
    truncated: bool


class LogJournal:
    """Read the last entries of the system's journal (systemd), of one unit or of all."""

    name: ClassVar[str] = "log.journal"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"lines": LINES_MAX}
    Arguments: ClassVar[type[Struct]] = JournalArguments
    Result: ClassVar[type[Struct]] = JournalResult

    def __init__(self, folder: str) -> None:
        self._folder = folder

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: self._check())

    def _check(self) -> None:
        program("journalctl", "systemd")
        folders = [Path(self._folder)] if self._folder else [Path("/var/log/journal"), Path("/run/log/journal")]
        if not any(next(each.rglob("*.journal"), None) for each in folders if each.is_dir()):
            raise ToolFailed("unavailable", f"no journal of systemd in {' or '.join(map(str, folders))}")

    async def run(self, arguments: JournalArguments, context: Context) -> JournalResult:
        words = ["--no-pager", "--output=json", f"--lines={arguments.lines}", f"--priority={arguments.priority}"]
        words += [f"--directory={self._folder}"] if self._folder else []
        words += [f"--unit={arguments.unit}"] if arguments.unit else []
        words += [f"--since=-{arguments.since_s:.0f}s"] if arguments.since_s else []
        how = await _system("journalctl", "systemd", words, context)
        lines = how.stdout.head.decode("utf-8", "replace").splitlines()
        entries = [entry for line in lines if (entry := _entry(line))]
        return JournalResult(entries, how.stdout.count > len(how.stdout.head))


def _entry(line: str) -> Entry | None:
    try:
        said: dict[str, Any] = msgspec.json.decode(line)
        message = said.get("MESSAGE") or ""
        if isinstance(message, list):  # bytes that are no text
            message = bytes(message).decode("utf-8", "replace")
        unit = said.get("_SYSTEMD_UNIT") or said.get("SYSLOG_IDENTIFIER") or ""
        at = int(said["__REALTIME_TIMESTAMP"]) / 1e6
        return Entry(at, str(unit), int(said.get("PRIORITY", 6)), str(message)[:_LINE_CHARS_MAX])
    except (msgspec.DecodeError, KeyError, ValueError, TypeError):
        return None  # cut at the end of what is held


class ServiceArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which services."""

    unit: UnitName


class ServiceResult(Struct, frozen=True):
    """How the unit is, in systemd's words."""

    unit: str
    description: str
    load: str
    active: str
    sub: str
    at_start: Annotated[str, Meta(description="enabled, disabled, static, ...")]
    pid: int
    restarts: int
    result: str


class ServiceStatus:
    """Tell how a service of the system (a unit of systemd) is doing."""

    name: ClassVar[str] = "service.status"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = ServiceArguments
    Result: ClassVar[type[Struct]] = ServiceResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: _check_systemd())

    async def run(self, arguments: ServiceArguments, context: Context) -> ServiceResult:
        words = ["show", "--no-pager", f"--property={','.join(_SHOWN)}", "--", arguments.unit]
        how = await _system("systemctl", "systemd", words, context)
        said = dict(re.findall(r"^(\w+)=(.*)$", how.stdout.head.decode("utf-8", "replace"), re.M))
        if said.get("LoadState") == "not-found":
            raise ToolFailed("not_found", f"there is no unit {arguments.unit}")
        texts = [str(said.get(key, ""))[:500] for key in _SHOWN]
        unit, description, load, active, sub, at_start, pid, restarts, result = texts
        return ServiceResult(unit, description, load, active, sub, at_start, _number(pid), _number(restarts), result)


def _check_systemd() -> None:
    program("systemctl", "systemd")
    if not Path("/run/systemd/system").is_dir():
        raise ToolFailed("unavailable", "this system was not started by systemd")


def _number(said: str) -> int:
    return int(said) if said.isdecimal() else 0


async def _system(name: str, package: str, words: list[str], context: Context) -> Ran:
    """Return how a program of the system ended that the tool itself calls, with words that are its own."""

    def launch(_: Stop) -> Launch:
        executable = Path(program(name, package))
        with told(context.scratch):
            context.scratch.mkdir(parents=True, exist_ok=True)
            stdin = context.scratch / "stdin"
            stdin.write_bytes(b"")
        env = environment(context.guard, context.scratch, {"LC_ALL": "C.UTF-8"})
        return Launch(executable, (name, *words), env, stdin, context.grace)

    place = Place(context.guard.work_folder, (), None)
    how = await ran(await unblocked(launch), place, context, _TIMEOUT_S)
    if how.exit_code:
        raise exit_nonzero(name, how.exit_code, how.words)
    return how
