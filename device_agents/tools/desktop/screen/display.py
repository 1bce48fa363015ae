"""A connection to the X server for as long as one call, off the loop, with a deadline and an end."""

import asyncio
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from ....errors import ToolFailed
from ... import wanted
from ...blocking import Stop, unblocked
from .settings import ScreenSettings

T = TypeVar("T")

EXTRA = "desktop"
_ANSWER_S = 3.0  # an X server that works answers within milliseconds
_CALL_S = 20.0
_PUT_RIGHT_S = 1.0
_LOOK_S = 0.2  # how often a thread that waits looks whether anybody still wants that
_HELLO = b"l\0\x0b\0\0\0\0\0\0\0\0\0"  # of X11, little-endian, without a cookie: refused or not, it is answered


def check_look(settings: ScreenSettings) -> None:
    _check(settings.look, "looking at the screen", "look")


def check_input(settings: ScreenSettings) -> None:
    _check(settings.input, "pointer and keyboard are a person's, using them", "input")


def check_clipboard(settings: ScreenSettings) -> None:
    _check(settings.clipboard, "using the clipboard", "clipboard")


def _check(allowed: bool, what: str, setting: str) -> None:
    if not allowed:
        said = f"{what} is not allowed; `{setting} = true` under [desktop.screen] in agent.toml would allow it"
        raise ToolFailed("denied", said)


def display_name(settings: ScreenSettings) -> str:
    """Return the name of the X server; raise ToolFailed where these tools have not been tried, or there is none."""
    if sys.platform != "linux":
        raise ToolFailed("not_supported", f"the tools of the screen have not been tried on {sys.platform} yet")
    is_wayland = os.environ.get("XDG_SESSION_TYPE") == "wayland" or bool(os.environ.get("WAYLAND_DISPLAY"))
    if is_wayland and not settings.display:
        said = "the tools of the screen have not been tried under Wayland yet: log in to a session of X11"
        raise ToolFailed("not_supported", f"{said}, or name an X server by `display` under [desktop.screen]")
    name = settings.display or os.environ.get("DISPLAY", "")
    if not name:
        said = "no X server is named: start the agent in a desktop session, or set `display` under [desktop.screen]"
        raise ToolFailed("unavailable", f"{said} in agent.toml")
    return name


class Screen:
    """An X server that answers. It blocks; `end`, from any thread, ends whatever waits for it."""

    def __init__(self, name: str) -> None:
        xlib = wanted.library("Xlib.display", EXTRA)
        _answered(name)
        self.x: Any = xlib.Display(name)
        self.x.set_error_handler(lambda error, request: None)  # python-xlib would print it
        self.root: Any = self.x.screen().root
        self.width: int = self.x.screen().width_in_pixels
        self.height: int = self.x.screen().height_in_pixels

    def end(self) -> None:
        with suppress(OSError):
            self.x.display.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError, wanted.library("Xlib.error", EXTRA).ConnectionClosedError):
            self.x.close()

    def atom(self, name: str) -> int:
        return int(self.x.intern_atom(name))

    def values(self, window: Any, name: str, *, longs_max: int = 1_024) -> Any:
        """Return the beginning of a property's value: numbers, or bytes; empty if there is none."""
        found = window.get_property(self.atom(name), 0, 0, longs_max)
        return found.value if found is not None else ()

    def event(self, stop: Stop, timeout_s: float) -> Any:
        """Return the next event, or None if none comes in time."""
        deadline = time.monotonic() + timeout_s
        while not self.x.pending_events():
            stop.check()
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            select.select([self.x], [], [], min(left, _LOOK_S))
        return self.x.next_event()

    def tell(self, window: Any, kind: str, values: list[int], *, to: Any, mask: int) -> None:
        """Send a client message about the window."""
        event = wanted.library("Xlib.protocol.event", EXTRA)
        message = event.ClientMessage(window=window, client_type=self.atom(kind), data=(32, [*values, 0, 0, 0, 0][:5]))
        to.send_event(message, event_mask=mask)
        self.x.flush()


async def at_the_screen(
    settings: ScreenSettings, work: Callable[[Screen, Stop], T], *, timeout_s: float = _CALL_S
) -> T:
    """Return what the work returns, done with a connection of its own; raise ToolFailed unavailable, timeout."""
    name = display_name(settings)
    opened: list[Screen] = []

    def worked(stop: Stop) -> T:
        with x_told(name):
            screen = Screen(name)
            opened.append(screen)
            try:
                stop.check()
                return work(screen, stop)
            finally:
                screen.close()

    def cut() -> None:
        for screen in opened:
            screen.end()

    def end() -> None:
        # Whoever holds a key or has changed the keyboard puts that right first; only one who hangs is cut off.
        cutting.append(asyncio.get_running_loop().call_later(_PUT_RIGHT_S, cut))

    cutting: list[asyncio.TimerHandle] = []
    try:
        async with asyncio.timeout(timeout_s):
            return await unblocked(worked, end=end)
    except TimeoutError:
        raise ToolFailed("timeout", f"{name} was not done in {timeout_s:g} s", retryable=True) from None
    finally:
        for timer in cutting:
            timer.cancel()


async def check_screen(settings: ScreenSettings) -> None:
    """Raise ToolFailed unless there is an X server that answers."""
    await at_the_screen(settings, lambda screen, stop: None)


@contextmanager
def x_told(name: str) -> Iterator[None]:
    """Turn what the X server says, or that it is gone, into ToolFailed."""
    error = wanted.library("Xlib.error", EXTRA)
    try:
        yield
    except (error.DisplayError, error.XauthError, error.XNoAuthError, error.ConnectionClosedError, OSError) as exc:
        raise ToolFailed("unavailable", f"the X server {name} cannot be used: {exc}"[:300], retryable=True) from exc
    except error.XError as exc:
        said = f"the X server {name} refused something, perhaps a window has gone: {exc}"
        raise ToolFailed("unavailable", said[:300], retryable=True) from exc


def _answered(name: str) -> None:
    """Raise OSError unless the server answers soon; one that is stopped still takes connections, and never speaks."""
    _, protocol, host, number, _ = wanted.library("Xlib.support.connect", EXTRA).get_display(name)
    with _line(host if host != "unix" and protocol != "unix" else "", number) as line:
        line.settimeout(_ANSWER_S)
        line.sendall(_HELLO)
        if not line.recv(1):
            raise ConnectionError("it has hung up")


def _line(host: str, number: int) -> socket.socket:
    if host:
        return socket.create_connection((host, 6_000 + number), timeout=_ANSWER_S)
    line = socket.socket(socket.AF_UNIX)
    try:
        line.settimeout(_ANSWER_S)
        line.connect(f"/tmp/.X11-unix/X{number}")  # noqa: S108  # that is where X servers are
    except BaseException:
        line.close()
        raise
    return line
