"""The tools that look at the device itself, and the one that looks at nothing."""

import os
import platform
import shutil
import socket
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import psutil
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from .base import Context
from .beneath import told
from .blocking import Stop, unblocked

PROCESSES_MAX = 200
_CPU_WINDOW_S = 0.2  # over which a process's share of the processors is measured


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class SystemResult(Struct, frozen=True):
    """The device as it is now."""

    hostname: str
    os: str
    kernel: str
    machine: Annotated[str, Meta(description="The processor's architecture.")]
    python: str
    cpu_count: int
    load_1min: float
    memory_bytes: int
    memory_available_bytes: int
    disk_bytes: Annotated[int, Meta(description="Of the disk that the work folder is on.")]
    disk_free_bytes: int
    booted_at: Annotated[float, Meta(description="Seconds since 1970.")]


class SystemOverview:
    """Tell what the device is and how much memory and disk it has left."""

    name: ClassVar[str] = "system.info"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = Nothing
    Result: ClassVar[type[Struct]] = SystemResult

    async def run(self, arguments: Nothing, context: Context) -> SystemResult:
        return await unblocked(lambda _: self._looked_at(context))

    def _looked_at(self, context: Context) -> SystemResult:
        memory = psutil.virtual_memory()
        with told(context.guard.work_folder):
            disk = shutil.disk_usage(context.guard.work_folder)
        return SystemResult(
            hostname=socket.gethostname(),
            os=platform.system(),
            kernel=platform.release(),
            machine=platform.machine(),
            python=platform.python_version(),
            cpu_count=os.cpu_count() or 1,
            load_1min=round(psutil.getloadavg()[0], 2),
            memory_bytes=memory.total,
            memory_available_bytes=memory.available,
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            booted_at=psutil.boot_time(),
        )


class ListArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which processes."""

    name: Annotated[str, Meta(max_length=200, description="A part of the name, in any case; all by default.")] = ""
    sort: Annotated[Literal["cpu", "memory"], Meta(description="By what, the largest first.")] = "cpu"
    limit: Annotated[int, Meta(ge=1, le=PROCESSES_MAX)] = 50


class RunningProcess(Struct, frozen=True):
    """One process. Not its command line: secrets stand there."""

    pid: int
    name: str
    user: str
    cpu_percent: Annotated[float, Meta(description="Of one processor.")]
    memory_bytes: int
    started_at: Annotated[float, Meta(description="Seconds since 1970.")]


class ListResult(Struct, frozen=True):
    """The processes, and how many there are besides."""

    processes: list[RunningProcess]
    truncated: bool


class ProcessList:
    """List the device's processes by their use of the processor or of memory."""

    name: ClassVar[str] = "process.list"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"processes": PROCESSES_MAX}
    Arguments: ClassVar[type[Struct]] = ListArguments
    Result: ClassVar[type[Struct]] = ListResult

    async def run(self, arguments: ListArguments, context: Context) -> ListResult:
        return await unblocked(lambda stop: self._listed(arguments, stop))

    def _listed(self, arguments: ListArguments, stop: Stop) -> ListResult:
        wanted = arguments.name.casefold()
        processes = [each for each in psutil.process_iter(["name"]) if wanted in (each.info["name"] or "").casefold()]
        list(_measured(processes))  # a share is measured since the last look
        stop.wait(_CPU_WINDOW_S)
        stop.check()
        found = list(_measured(processes))
        found.sort(key=lambda each: each.cpu_percent if arguments.sort == "cpu" else each.memory_bytes, reverse=True)
        return ListResult(found[: arguments.limit], len(found) > arguments.limit)


def _measured(processes: list[psutil.Process]) -> Iterator[RunningProcess]:
    for process in processes:
        try:
            with process.oneshot():
                name = process.name().encode("utf-8", "replace").decode()
                yield RunningProcess(
                    process.pid,
                    name,
                    process.username(),
                    process.cpu_percent(),
                    process.memory_info().rss,
                    process.create_time(),
                )
        except psutil.Error:
            continue  # it has ended since, or is somebody else's


class EchoArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """What comes back."""

    value: Annotated[Any, Meta(description="Any JSON.")]


class EchoResult(Struct, frozen=True):
    """What was sent."""

    value: Any


class SystemEcho:
    """Return the arguments, to see that the way to the device works and how long it takes."""

    name: ClassVar[str] = "system.echo"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = EchoArguments
    Result: ClassVar[type[Struct]] = EchoResult

    async def run(self, arguments: EchoArguments, context: Context) -> EchoResult:
        return EchoResult(arguments.value)
