"""What the tools of the screen work on in tests: a desktop on an X server without a monitor, and programs on it."""

import asyncio
import atexit
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from device_agents.errors import ToolFailed
from device_agents.tools import Settings
from device_agents.tools.base import Tool
from device_agents.tools.desktop.screen import tools
from device_agents.tools.desktop.screen.access import AccessTree
from device_agents.tools.desktop.screen.settings import ScreenSettings
from device_agents.tools.desktop.screen.windows import WindowFocus, WindowList
from device_agents.tools.desktop.settings import DesktopSettings

from ...bench import Bench

T = TypeVar("T")

_KEEPER = Path(__file__).parents[5] / "device_agents" / "tools" / "keeper.py"
_DETACHED = "import os, sys\nif os.fork(): os._exit(0)\nos.setsid()\nos.execv(sys.argv[1], sys.argv[1:])"
_UP_S = 20.0


def lacking() -> str:
    """Return what this machine lacks for a desktop, or nothing."""
    missing = [name for name in ("Xvfb", "openbox", "dbus-daemon", "mousepad", "xterm") if not shutil.which(name)]
    return f"this machine has no {', '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class Desk:
    """A desktop that is up, and the environment of a program on it."""

    env: dict[str, str]

    def settings(self, **more: Any) -> ScreenSettings:
        """Return settings that allow everything, but for what is said otherwise."""
        allowed = {"look": True, "input": True, "clipboard": True, "display": self.env["DISPLAY"]}
        bus = self.env["DBUS_SESSION_BUS_ADDRESS"]
        programs = {"pause": ("sleep", "60"), "terminal": ("xterm", "-T", "begun")}
        return ScreenSettings(**{**allowed, "session_bus": bus, "programs": programs, **more})

    @contextmanager
    def running(self, *argv: str, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program on the desktop, and end it."""
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        program = subprocess.Popen(argv, env=self.env, **{**quiet, **more})
        try:
            yield program
        finally:
            program.kill()
            program.wait()
            for pipe in (program.stdin, program.stdout, program.stderr):
                if pipe:
                    pipe.close()


@cache
def desk() -> Desk:
    """Return the one desktop of this test process, with an editor and a terminal: no child of it, and gone with it."""
    found = _begun()
    listing = Called(WindowList(found.settings()))
    tree = Called(AccessTree(found.settings()))
    # A window that appears takes the keyboard, so that nothing may happen before all are there.
    until(lambda: len(_unless_early(listing, "windows")) == 2)
    until(lambda: [each for each in _unless_early(tree, "nodes") if each["role"] == "text"])
    return found


def _unless_early(looking: "Called", name: str) -> list[Any]:
    try:
        return list(looking.run()[name])
    except ToolFailed:
        return []  # the window manager is not up yet


def _begun() -> Desk:
    folder = tempfile.mkdtemp(prefix="galaxy-desk-")
    line, theirs = socket.socketpair()
    out, said = os.pipe()
    keeper = [sys.executable, "-I", "-S", str(_KEEPER), str(theirs.fileno()), "0.5"]
    script = [sys.executable, "python", str(Path(__file__).with_name("desk.py")), folder]
    detached = [sys.executable, "-I", "-S", "-c", _DETACHED, *keeper, *script]
    subprocess.run(detached, check=True, stdin=subprocess.DEVNULL, stdout=said, pass_fds=[theirs.fileno()])
    theirs.close()
    os.close(said)
    atexit.register(_ended, line, folder)
    with os.fdopen(out) as answer:
        ready, _, _ = select.select([answer], [], [], _UP_S)
        assert ready, "the desktop has not come up"
        return Desk(json.loads(answer.readline()))


def _ended(line: socket.socket, folder: str) -> None:
    line.sendall(b"0.5\n")
    line.settimeout(10)
    while line.recv(1024):
        pass  # it ends with the keeper
    line.close()
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Shown:
    """A program that is running on the desktop, and its window."""

    desk: Desk
    window: int

    def settings(self, **more: Any) -> ScreenSettings:
        return self.desk.settings(**more)


@contextmanager
def shown(*argv: str, title: str) -> Iterator[Shown]:
    """Run a program until its window is there and has the keyboard, and end it with its window afterwards."""
    with desk().running(*argv):
        window = until(lambda: next(iter(windows(title=title)), None))["id"]
        Called(WindowFocus(desk().settings())).run(window=window)
        yield Shown(desk(), window)
    until(lambda: all(each["id"] != window for each in windows()))


class Called:
    """A tool that is called without a device around it."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool

    def run(self, **arguments: object) -> Any:
        context: Any = None  # tools that put nothing aside need none
        return msgspec.to_builtins(
            asyncio.run(self._tool.run(msgspec.convert(arguments, self._tool.Arguments), context))
        )


def tool(name: str, **settings: Any) -> Tool:
    """Return the tool as the owner of the desktop has allowed it, but for what is said otherwise."""
    return next(each for each in tools(desk().settings(**settings)) if each.name == name)


def windows(**arguments: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Called(WindowList(desk().settings())).run(**arguments)["windows"]
    return found


@contextmanager
def a_desk(bench: Bench) -> Iterator[Desk]:
    yield desk()


def the_editor() -> Shown:
    """Return the editor that every desktop has, in front."""
    return _in_front("Mousepad")


def the_terminal() -> Shown:
    """Return the terminal that every desktop has, in front; it echoes lines."""
    return _in_front("a terminal")


def _in_front(title: str) -> Shown:
    window = until(lambda: next(iter(windows(title=title)), None))["id"]
    Called(WindowFocus(desk().settings())).run(window=window)
    return Shown(desk(), window)


@contextmanager
def a_terminal(bench: Bench) -> Iterator[Shown]:
    yield the_terminal()


@contextmanager
def an_editor(bench: Bench) -> Iterator[Shown]:
    yield the_editor()


def nodes(**arguments: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Called(AccessTree(desk().settings())).run(nodes=500, **arguments)["nodes"]
    return found


def node(role: str, name: str = "", **arguments: object) -> str:
    """Return the id of the first such node of the editor, as soon as there is one."""

    def look() -> str:
        for each in nodes(application="mousepad", **arguments):
            if each["role"] == role and each.get("name", "").startswith(name):
                return str(each["id"])
        return ""

    return until(look)


def close_menus(bench: Bench) -> None:
    """Press escape until no menu has taken the keyboard from the editor, and leave that empty."""

    def look() -> bool:
        bench.call(tool("keyboard.press"), keys="escape")
        try:
            bench.call(tool("keyboard.type"), text=" ", window=the_editor().window)
        except ToolFailed as exc:
            if exc.failure.code != "keyboard_taken":
                raise
            return False
        return True

    until(look)
    bench.call(tool("access.set_text"), node=node("text"), text="")


def until(look: Callable[[], T], timeout_s: float = 15.0) -> T:
    """Return what is seen as soon as it is something; fail when nothing is for too long."""
    pause, deadline = threading.Event(), threading.Event()
    timer = threading.Timer(timeout_s, deadline.set)
    timer.start()
    try:
        while not (found := look()):
            assert not deadline.is_set(), "it has not come about"
            pause.wait(0.03)
        return found
    finally:
        timer.cancel()
        timer.join()


def on_the_desk(bench: Bench) -> Settings:
    return Settings(desktop=DesktopSettings(screen=bench.peer.settings() if bench.peer else ScreenSettings()))
