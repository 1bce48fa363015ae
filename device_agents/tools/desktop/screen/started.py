"""The tools that start programs of the desktop, and end them. None outlives the agent, however that ends."""

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar

import psutil
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ....errors import ToolFailed
from ....guard import Guard
from ...base import Context, Grace
from ...beneath import told
from ...blocking import Stop
from ...program import Launch, Program
from ...running import environment, side_by_side
from .display import Screen, at_the_screen, check_screen, display_name
from .settings import ScreenSettings
from .windows import clients

PROGRAMS_MAX = 8
_OPEN = "..."  # at the end of a program's arguments: a call may add its own
_MARK = "GALAXY_PROGRAM"  # in the environment of all that belongs to one started program
_LOOK_S = 0.1
_PIECE_BYTES = 64 << 10
_LAST_WORDS_BYTES = 500
_SESSION_VARIABLES = (
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_DATA_DIRS",
    "XDG_CONFIG_DIRS",
    "XDG_CURRENT_DESKTOP",
    "GTK_MODULES",
)

ProgramId = Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,60}:[0-9a-f]{8}$", description="As program.start tells it.")]


class StartArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which program, and what is waited for."""

    program: Annotated[str, Meta(max_length=60, description="One that the device's owner has named.")]
    arguments: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=4_000, pattern="^[^\u0000]*$")], ...],
        Meta(max_length=20, description="More of them, where its owner lets a call say any."),
    ] = ()
    wait_s: Annotated[
        float, Meta(ge=0, le=60, description="Wait so long for a window of it; 0: do not. Without one it is ended.")
    ] = 10


class Started(Struct, frozen=True):
    """The program runs, until program.stop or the agent ends it, or it ends by itself."""

    id: str
    windows: list[int]


class StopArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which program."""

    id: ProgramId


class Stopped(Struct, frozen=True):
    """The program and all that it has started are gone."""

    was_running: bool


class Programs:
    """Those that were started and have not ended, by id; they belong to the agent, and not to one constellation."""

    def __init__(self) -> None:
        self._running: dict[str, _Running] = {}

    def begin(self, id_: str, program: Program) -> "_Running":
        running = self._running[id_] = _Running(program)
        running.life = asyncio.get_running_loop().create_task(self._live(id_, running))
        return running

    def check_room(self) -> None:
        if len(self._running) >= PROGRAMS_MAX:
            said = f"{PROGRAMS_MAX} started programs are running; program.stop ends one"
            raise ToolFailed("too_many_programs", said, retryable=True)

    async def end(self, id_: str) -> bool:
        """Return whether it was running, once it is gone."""
        running = self._running.get(id_)
        if running is None or running.life is None:
            return False
        running.life.cancel()
        await asyncio.wait([running.life])
        return True

    async def _live(self, id_: str, running: "_Running") -> None:
        """Read what the program says, so that it never waits for a reader, until it ends or this is cancelled."""
        running.begun.set()
        try:
            await side_by_side(*map(running.read, await running.program.readers()))
        finally:
            try:
                await running.program.gone()
            finally:
                del self._running[id_]


class _Running:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.life: asyncio.Task[None] | None = None
        self.begun = asyncio.Event()  # a task that is cancelled before it has begun never ends what it was given
        self.said = b""

    async def read(self, output: asyncio.StreamReader) -> None:
        while piece := await output.read(_PIECE_BYTES):
            self.said = (self.said + piece)[-_LAST_WORDS_BYTES:]


class ProgramStart:
    """Start a program of the desktop that the device's owner has named, and wait for its window."""

    name: ClassVar[str] = "program.start"
    effect: ClassVar[Effect] = Effect.INTERACTIVE
    limits: ClassVar[dict[str, int | float]] = {"programs": PROGRAMS_MAX}
    Arguments: ClassVar[type[Struct]] = StartArguments
    Result: ClassVar[type[Struct]] = Started

    def __init__(self, settings: ScreenSettings, programs: Programs) -> None:
        self._settings = settings
        self._programs = programs

    async def probe(self, guard: Guard) -> None:
        check_programs(self._settings)
        await check_screen(self._settings)

    async def run(self, arguments: StartArguments, context: Context) -> Started:
        argv = _argv(self._settings, arguments)
        found = shutil.which(argv[0], path=context.guard.program_path)
        if found is None:
            raise ToolFailed("program_not_found", f"there is no program {argv[0]} on this device")
        self._programs.check_room()
        id_ = f"{arguments.program}:{secrets.token_hex(4)}"
        env = environment(context.guard, Path(tempfile.gettempdir()), self._session() | {_MARK: id_})
        launch = Launch(Path(found), argv, env, Path(os.devnull), Grace())
        with told(argv[0]):
            running = self._programs.begin(id_, Program(launch, cwd=str(context.guard.work_folder)))
        try:
            windows = await self._windows(id_, running, arguments)
        except BaseException:
            await self._programs.end(id_)
            raise
        return Started(id_, windows)

    def _session(self) -> dict[str, str]:
        kept = {name: value for name in _SESSION_VARIABLES if (value := os.environ.get(name))}
        bus = self._settings.session_bus or os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
        return kept | {"DISPLAY": display_name(self._settings)} | ({"DBUS_SESSION_BUS_ADDRESS": bus} if bus else {})

    async def _windows(self, id_: str, running: _Running, arguments: StartArguments) -> list[int]:
        """Return the program's windows as soon as there are some; raise ToolFailed no_window, ended."""
        await running.begun.wait()
        deadline = time.monotonic() + arguments.wait_s
        while (left := deadline - time.monotonic()) > 0 and running.life is not None:
            await asyncio.wait([running.life], timeout=min(_LOOK_S, left))
            if running.life.done():
                said = running.said.decode("utf-8", "replace").strip()
                raise ToolFailed("ended", f"{arguments.program} has ended before it had a window: {said}")
            if found := await at_the_screen(self._settings, lambda screen, stop: _of_program(screen, stop, id_)):
                return found
        if arguments.wait_s:
            said = f"{arguments.program} has shown no window in {arguments.wait_s:g} s, and was ended"
            raise ToolFailed("no_window", said, retryable=True)
        return []


class ProgramStop:
    """End a program that program.start has started, with all that it started itself."""

    name: ClassVar[str] = "program.stop"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = StopArguments
    Result: ClassVar[type[Struct]] = Stopped

    def __init__(self, settings: ScreenSettings, programs: Programs) -> None:
        self._settings = settings
        self._programs = programs

    async def probe(self, guard: Guard) -> None:
        check_programs(self._settings)
        display_name(self._settings)

    async def run(self, arguments: StopArguments, context: Context) -> Stopped:
        check_programs(self._settings)
        return Stopped(await self._programs.end(arguments.id))


def check_programs(settings: ScreenSettings) -> None:
    if not settings.programs:
        said = "no program is named; programs.NAME = [PROGRAM, ARGUMENT, ...] under [desktop.screen] in agent.toml"
        raise ToolFailed("denied", f"{said} would allow it")


def _argv(settings: ScreenSettings, arguments: StartArguments) -> tuple[str, ...]:
    """Return what is started; raise ToolFailed denied."""
    check_programs(settings)
    named = settings.programs.get(arguments.program)
    where = f"programs.{arguments.program[:60]!r} under [desktop.screen] in agent.toml"
    if named is None:
        known = ", ".join(settings.programs)
        raise ToolFailed("denied", f"the program is not allowed, these are: {known}; {where} would allow it")
    is_open = named[-1] == _OPEN
    if arguments.arguments and not is_open:
        raise ToolFailed("denied", f'a call may not add arguments; "{_OPEN}" at the end of {where} would allow it')
    if options := [each for each in arguments.arguments if each.startswith("-")]:
        said = f"{options[0][:100]!r} begins with a dash; a call adds no options, they belong into {where}"
        raise ToolFailed("denied", said)
    return (*(named[:-1] if is_open else named), *arguments.arguments)


def _of_program(screen: Screen, stop: Stop, id_: str) -> list[int]:
    """Return the windows of the program and of what it started, whose environment they have."""
    found = []
    for window in clients(screen):
        stop.check()
        opened = screen.x.create_resource_object("window", window)
        pid = screen.values(opened, "_NET_WM_PID")
        if not len(pid) or isinstance(pid, bytes):
            continue
        with suppress(psutil.Error, OSError):
            if psutil.Process(int(pid[0])).environ().get(_MARK) == id_:
                found.append(window)
    return found
