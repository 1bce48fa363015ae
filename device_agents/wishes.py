"""What a device's owner asks of the agent that runs there: a file in its folder, and a signal that it is there."""

import os
import re
import signal
from pathlib import Path

import msgspec
from msgspec import Struct

from .identity import StateInUse, locked

WISH_FILE = "wish.json"
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


class NoAgent(Exception):
    """Nobody is there to be asked; the message says why."""


class Wish(Struct, frozen=True):
    """Sleep for so long; or, if it is for no time at all, wake."""

    sleep_s: float = 0.0
    reason: str = ""


def asked(folder: Path, wish: Wish) -> int:
    """Hand the wish to the agent in this folder, and return its process id; raise NoAgent, OSError."""
    if not hasattr(signal, "SIGUSR1"):
        raise NoAgent("this system has no signals by which a running agent could be asked")
    try:
        os.close(locked(folder))
    except StateInUse as exc:
        pid = _pid_in(exc.lock)
    else:
        raise NoAgent(f"no agent runs in {folder}")
    if pid is None:
        raise NoAgent(f"the agent in {folder} is just starting or ending")
    partial = folder / (WISH_FILE + ".new")
    partial.write_bytes(msgspec.json.encode(wish))
    partial.replace(folder / WISH_FILE)
    os.kill(pid, signal.SIGUSR1)
    return pid


def taken(folder: Path) -> Wish | None:
    """Return what was wished, once."""
    path = folder / WISH_FILE
    try:
        wish = msgspec.json.decode(path.read_bytes(), type=Wish)
        path.unlink()
    except (OSError, msgspec.DecodeError):
        return None
    return wish


def listen(lock: int, *, listening: bool) -> None:
    """Say in the lock that wishes are heard, or are no more: a signal that nobody heeds would end the process."""
    os.ftruncate(lock, 0)
    if listening:
        os.pwrite(lock, str(os.getpid()).encode(), 0)


def seconds(text: str) -> float:
    """Return the seconds in such as 90s, 30m, 8h or 2d; raise ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None or not float(found[1]):
        raise ValueError(f"{text}: write it as 90s, 30m, 8h or 2d")
    return float(found[1]) * _UNITS_S[found[2]]


def _pid_in(lock: Path) -> int | None:
    text = lock.read_text()
    return int(text) if text.isdecimal() else None
