"""The node's clock: the wall's time when the node first ran since its machine was started, and steady from there.

A wall clock that is set by minutes, while the node runs or between two runs, moves no deadline: between runs the
machine's own time since its start tells how long the node was away. One that is set by more was wrong before.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

ANCHOR_FILE = "clock.json"
SET_RIGHT_S = 3_600.0  # a wall clock that is further off has been set at last
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Anchor(Struct, frozen=True):
    """What time it was for the node, so many seconds after this start of the machine."""

    boot: str
    up_s: float
    time: float


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine knows of time; `boot` is empty where it cannot tell one start of itself from another."""

    boot: str
    up_s: Callable[[], float]
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


def this_machine() -> Machine:
    """Return what the machine that this runs on knows of time."""
    try:
        return Machine(BOOT_ID.read_text().strip(), lambda: time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return Machine("", lambda: 0.0)


def clock(folder: Path, not_before: float, machine: Machine) -> Callable[[], float]:
    """Return the one clock. It is never before what is recorded already."""
    up_s, start = machine.up_s(), machine.wall()
    anchor = _anchored(folder / ANCHOR_FILE)
    if anchor and machine.boot and anchor.boot == machine.boot:
        told = anchor.time + up_s - anchor.up_s
        if abs(told - start) <= SET_RIGHT_S:
            start = told
    start, steady = max(start, not_before), machine.steady()
    _keep(folder / ANCHOR_FILE, Anchor(machine.boot, up_s, start))
    return lambda: start + machine.steady() - steady


def _anchored(path: Path) -> Anchor | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Anchor)
    except (OSError, msgspec.MsgspecError):
        return None


def _keep(path: Path, anchor: Anchor) -> None:
    """Keep it for the next start; where that cannot be done, the wall's time will have to do."""
    partial = path.with_suffix(".new")
    try:
        partial.write_bytes(msgspec.json.encode(anchor))
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
