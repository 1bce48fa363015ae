"""The tools that tell which windows there are, and bring one to the front."""

import time
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ....errors import ToolFailed
from ....guard import Guard
from ... import wanted
from ...base import Context
from ...blocking import Stop
from ...spool import INLINE_BYTES_MAX
from .display import EXTRA, Screen, at_the_screen, check_input, check_look, check_screen
from .locks import check_unlocked
from .settings import ScreenSettings

WINDOWS_MAX = 200
TITLE_CHARS_MAX = 200
_PAGER = 2  # how _NET_ACTIVE_WINDOW names one who acts for a person; others may be held back by the window manager

WindowId = Annotated[int, Meta(ge=1, le=0xFFFF_FFFF, description="As window.list tells it.")]


class Listed(Struct, frozen=True):
    """A window; x and y are of its inner area on the screen. Its title is what its program says: data, no more."""

    id: int
    title: str
    window_class: str
    pid: int | None
    x: int
    y: int
    width: int
    height: int
    active: bool
    minimized: bool


class ListArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which windows."""

    title: Annotated[str, Meta(max_length=200, description="Only those with this in their title.")] = ""


class Windows(Struct, frozen=True):
    """The windows, the topmost first."""

    windows: list[Listed]
    more: Annotated[bool, Meta(description="Whether there are more than a result can hold.")]


class WindowList:
    """List the windows of the desktop: title, class, process, place, which is active."""

    name: ClassVar[str] = "window.list"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"windows": WINDOWS_MAX}
    Arguments: ClassVar[type[Struct]] = ListArguments
    Result: ClassVar[type[Struct]] = Windows

    def __init__(self, settings: ScreenSettings) -> None:
        self._settings = settings

    async def probe(self, guard: Guard) -> None:
        check_look(self._settings)
        await at_the_screen(self._settings, lambda screen, stop: clients(screen))

    async def run(self, arguments: ListArguments, context: Context) -> Windows:
        check_look(self._settings)
        return await at_the_screen(self._settings, lambda screen, stop: _fitted(screen, stop, arguments.title))


class FocusArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which window; one of the two."""

    window: WindowId | None = None
    title: Annotated[str, Meta(max_length=200, description="Part of the title of just one window.")] = ""
    timeout_s: Annotated[float, Meta(gt=0, le=15)] = 5


class Focused(Struct, frozen=True):
    """The window that has the keyboard now."""

    window: int
    title: str


class WindowFocus:
    """Bring a window to the front and give it the keyboard; ends when it really has it."""

    name: ClassVar[str] = "window.focus"
    effect: ClassVar[Effect] = Effect.INTERACTIVE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = FocusArguments
    Result: ClassVar[type[Struct]] = Focused

    def __init__(self, settings: ScreenSettings) -> None:
        self._settings = settings

    async def probe(self, guard: Guard) -> None:
        check_input(self._settings)
        await check_screen(self._settings)

    async def run(self, arguments: FocusArguments, context: Context) -> Focused:
        check_input(self._settings)
        if (arguments.window is None) == (not arguments.title):
            raise ToolFailed("bad_arguments", "say one of `window` and `title`")
        await check_unlocked(self._settings)
        return await at_the_screen(self._settings, lambda screen, stop: _focused(screen, stop, arguments))


def clients(screen: Screen) -> list[int]:
    """Return the ids of the windows, the topmost first; raise ToolFailed unavailable."""
    if not len(screen.values(screen.root, "_NET_SUPPORTING_WM_CHECK")):
        raise ToolFailed("unavailable", "no window manager that tells of its windows (EWMH) is running", retryable=True)
    stacked = screen.values(screen.root, "_NET_CLIENT_LIST_STACKING", longs_max=10_000)
    return list(reversed(stacked)) or list(screen.values(screen.root, "_NET_CLIENT_LIST", longs_max=10_000))


def active(screen: Screen) -> int | None:
    """Return the id of the window that has the keyboard."""
    found = screen.values(screen.root, "_NET_ACTIVE_WINDOW")
    return int(found[0]) if len(found) and found[0] else None


def title_of(screen: Screen, window: int) -> str:
    """Return the title as harmless text: it may hold any bytes, and any number of them."""
    opened = screen.x.create_resource_object("window", window)
    raw = screen.values(opened, "_NET_WM_NAME") or screen.values(opened, "WM_NAME")
    return printable(raw, TITLE_CHARS_MAX)


def printable(raw: Any, chars_max: int) -> str:
    """Return the bytes or the text cut short, with a replacement for each character that only steers a terminal."""
    text = raw if isinstance(raw, str) else bytes(raw if isinstance(raw, bytes) else b"").decode("utf-8", "replace")
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:chars_max])


def place_of(screen: Screen, window: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the window's inner area; raise ToolFailed no_such_window."""
    error = wanted.library("Xlib.error", EXTRA)
    opened = screen.x.create_resource_object("window", window)
    try:
        size, at = opened.get_geometry(), screen.root.translate_coords(opened, 0, 0)
    except error.XError as exc:
        raise ToolFailed("no_such_window", f"there is no window {window}; window.list tells which are") from exc
    return at.x, at.y, size.width, size.height


def client_at(screen: Screen, x: int, y: int) -> int | None:
    """Return the window that a click there would reach; None where it is none of window.list."""
    known, here = set(clients(screen)), screen.root
    for _ in range(20):
        below = here.translate_coords(screen.root, x, y).child
        if not below:
            return None
        if below.id in known:
            return int(below.id)
        here = below
    return None


def _listed(screen: Screen, stop: Stop) -> Iterator[Listed]:
    error = wanted.library("Xlib.error", EXTRA)
    at_the_front, hidden = active(screen), screen.atom("_NET_WM_STATE_HIDDEN")
    for window in clients(screen):
        stop.check()
        opened = screen.x.create_resource_object("window", window)
        try:
            x, y, width, height = place_of(screen, window)
            pid = screen.values(opened, "_NET_WM_PID")
            names = bytes(screen.values(opened, "WM_CLASS") or b"").split(b"\0")
            yield Listed(
                id=window,
                title=title_of(screen, window),
                window_class=printable(names[1] if len(names) > 1 else b"", TITLE_CHARS_MAX),
                pid=int(pid[0]) if len(pid) and not isinstance(pid, bytes) else None,
                x=x,
                y=y,
                width=width,
                height=height,
                active=window == at_the_front,
                minimized=hidden in screen.values(opened, "_NET_WM_STATE"),
            )
        except (error.XError, ToolFailed):
            continue  # it has gone since


def _fitted(screen: Screen, stop: Stop, title: str) -> Windows:
    kept: list[Listed] = []
    room = INLINE_BYTES_MAX
    for each in _listed(screen, stop):
        if title not in each.title:
            continue
        room -= len((each.title + each.window_class).encode()) * 2 + 200
        if room < 0 or len(kept) == WINDOWS_MAX:
            return Windows(kept, more=True)
        kept.append(each)
    return Windows(kept, more=False)


def _focused(screen: Screen, stop: Stop, arguments: FocusArguments) -> Focused:
    masks = wanted.library("Xlib.X", EXTRA)
    window = _meant(screen, arguments)
    screen.root.change_attributes(event_mask=masks.PropertyChangeMask)
    opened = screen.x.create_resource_object("window", window)
    mask = masks.SubstructureRedirectMask | masks.SubstructureNotifyMask
    screen.tell(opened, "_NET_ACTIVE_WINDOW", [_PAGER, masks.CurrentTime, 0], to=screen.root, mask=mask)
    deadline = time.monotonic() + arguments.timeout_s
    while active(screen) != window:
        left = deadline - time.monotonic()
        if left <= 0:
            said = f"the window {window} has not become the active one in {arguments.timeout_s:g} s"
            raise ToolFailed("not_focused", said, retryable=True)
        screen.event(stop, min(left, 0.2))
    return Focused(window, title_of(screen, window))


def _meant(screen: Screen, arguments: FocusArguments) -> int:
    known = clients(screen)
    if arguments.window is not None:
        if arguments.window not in known:
            said = f"there is no window {arguments.window}; window.list tells which are"
            raise ToolFailed("no_such_window", said)
        return arguments.window
    found = [window for window in known if arguments.title in title_of(screen, window)]
    if len(found) != 1:
        said = f"{len(found)} windows have {arguments.title!r} in their title"
        raise ToolFailed("not_unique" if found else "no_such_window", f"{said}; name one by its id, from window.list")
    return found[0]
