"""The tools that point: a click, a turn of the wheel."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ....errors import ToolFailed
from ....guard import Guard
from ... import wanted
from ...base import Context
from .display import EXTRA, Screen, at_the_screen, check_input, display_name
from .keyboard import check_xtest
from .locks import check_unlocked
from .presence import hands
from .settings import ScreenSettings
from .windows import WindowId, client_at, clients, place_of, title_of

_BUTTONS = {"left": 1, "middle": 2, "right": 3}
_WHEEL = {"up": 4, "down": 5, "left": 6, "right": 7}

X = Annotated[int, Meta(ge=0, le=65_535, description="Pixels from the left of the screen, or of the window.")]
Y = Annotated[int, Meta(ge=0, le=65_535, description="Pixels from the top of the screen, or of the window.")]
InWindow = Annotated[
    WindowId | None, Meta(description="x and y are within it, and it must be what is seen there: else `covered`.")
]


class ClickArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where, and how."""

    x: X
    y: Y
    window: InWindow = None
    button: Literal["left", "middle", "right"] = "left"
    double: bool = False


class ScrollArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where, and how far."""

    x: X
    y: Y
    direction: Literal["up", "down", "left", "right"]
    steps: Annotated[int, Meta(ge=1, le=100, description="Of the wheel; often about three lines each.")] = 3
    window: InWindow = None


class Pointed(Struct, frozen=True):
    """Where it was done on the screen, and which window is there, if one of window.list; not what came of it."""

    x: int
    y: int
    window: int | None
    title: str


class _WithPointer:
    """What these tools share: the settings, and what they cannot do without."""

    effect: ClassVar[Effect] = Effect.INTERACTIVE
    limits: ClassVar[dict[str, int | float]] = {}
    Result: ClassVar[type[Struct]] = Pointed

    def __init__(self, settings: ScreenSettings) -> None:
        self._settings = settings

    async def probe(self, guard: Guard) -> None:
        check_input(self._settings)
        await at_the_screen(self._settings, lambda screen, stop: check_xtest(screen))

    async def _pointed(self, arguments: ClickArguments | ScrollArguments, button: int, times: int) -> Pointed:
        check_input(self._settings)
        await check_unlocked(self._settings)
        name = display_name(self._settings)

        def work(screen: Screen) -> Pointed:
            check_xtest(screen)
            with hands(name).at_work(screen):
                return _press(screen, arguments, button, times)

        return await at_the_screen(self._settings, lambda screen, stop: work(screen))


class PointerClick(_WithPointer):
    """Move the pointer to a place on the screen or in a window, and click there."""

    name: ClassVar[str] = "pointer.click"
    Arguments: ClassVar[type[Struct]] = ClickArguments

    async def run(self, arguments: ClickArguments, context: Context) -> Pointed:
        return await self._pointed(arguments, _BUTTONS[arguments.button], 2 if arguments.double else 1)


class PointerScroll(_WithPointer):
    """Move the pointer to a place on the screen or in a window, and turn the wheel there."""

    name: ClassVar[str] = "pointer.scroll"
    Arguments: ClassVar[type[Struct]] = ScrollArguments

    async def run(self, arguments: ScrollArguments, context: Context) -> Pointed:
        return await self._pointed(arguments, _WHEEL[arguments.direction], arguments.steps)


def _press(screen: Screen, arguments: ClickArguments | ScrollArguments, button: int, times: int) -> Pointed:
    masks = wanted.library("Xlib.X", EXTRA)
    x, y = _spot(screen, arguments)
    # Whether there is a window manager is nothing to a click: without one there is no window to name.
    window = client_at(screen, x, y) if len(screen.values(screen.root, "_NET_SUPPORTING_WM_CHECK")) else None
    if arguments.window is not None and window != arguments.window:
        said = f"at {x}, {y} something else covers the window {arguments.window}; window.focus brings it to the front"
        raise ToolFailed("covered", said, retryable=True)
    screen.x.xtest_fake_input(masks.MotionNotify, x=x, y=y)
    for _ in range(times):
        screen.x.xtest_fake_input(masks.ButtonPress, button)
        screen.x.xtest_fake_input(masks.ButtonRelease, button)
    screen.x.sync()
    return Pointed(x, y, window, title_of(screen, window) if window else "")


def _spot(screen: Screen, arguments: ClickArguments | ScrollArguments) -> tuple[int, int]:
    """Return the place on the screen; raise ToolFailed no_such_window, outside."""
    x, y, width, height = 0, 0, screen.width, screen.height
    if arguments.window is not None:
        if arguments.window not in clients(screen):
            raise ToolFailed("no_such_window", f"there is no window {arguments.window}; window.list tells which are")
        x, y, width, height = place_of(screen, arguments.window)
    if arguments.x >= width or arguments.y >= height:
        said = f"{arguments.x}, {arguments.y} is outside of {width} x {height} pixels"
        raise ToolFailed("outside", said)
    if not (0 <= x + arguments.x < screen.width and 0 <= y + arguments.y < screen.height):
        raise ToolFailed("outside", "that part of the window is beyond the edge of the screen")
    return x + arguments.x, y + arguments.y
