"""What the vitals of a desktop tell of the person at it."""

import asyncio

from ....errors import ToolFailed
from .display import Screen, display_name, x_told
from .locks import locked
from .presence import hands
from .settings import ScreenSettings


def screen_vitals(settings: ScreenSettings) -> tuple[bool | None, bool | None]:
    """Return whether a person is at the screen, and whether it is locked; None for what nothing here tells.

    It blocks, for milliseconds where all is well and some seconds at worst, and is to be called where no loop runs.
    """
    return _in_use(settings), asyncio.run(locked(settings))


def _in_use(settings: ScreenSettings) -> bool | None:
    try:
        name = display_name(settings)
        with x_told(name):
            screen = Screen(name)
            try:
                idle_s = hands(name).idle_s(screen)
            finally:
                screen.close()
    except ToolFailed:
        return None  # no X server, or none that answers
    return None if idle_s is None else idle_s <= settings.in_use_s
