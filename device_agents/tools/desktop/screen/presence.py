"""Whether a person is at the screen: the last key or pointer event that was not ours."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

from ....errors import ToolFailed
from ... import wanted
from .display import EXTRA, Screen

_SLACK_S = 0.3  # between an event of ours and the time at which the X server counts it
_TURN_S = 5.0
_hands: dict[str, "Hands"] = {}


class Hands:
    """Our own pointer and keyboard on one X server, which it cannot tell from a person's: two calls never mix.

    The X server says how long ago anything was typed or moved. What falls into the time of our own last input is ours;
    a person who types just then is not seen, and is seen again with the next key.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._began = self._ended = -inf
        self._person_at = -inf

    @contextmanager
    def at_work(self, screen: Screen) -> Iterator[None]:
        """Hold pointer and keyboard; raise ToolFailed input_busy."""
        if not self._turn.acquire(timeout=_TURN_S):
            raise ToolFailed("input_busy", "another call is typing or clicking; try again", retryable=True)
        try:
            self.idle_s(screen)
            self._began, self._ended = time.monotonic(), inf
            try:
                yield
                screen.x.sync()
            finally:
                self._ended = time.monotonic()
        finally:
            self._turn.release()

    def idle_s(self, screen: Screen) -> float | None:
        """Return how long ago a person did something, None if the X server does not tell."""
        saver = wanted.library("Xlib.ext.screensaver", EXTRA)
        if not screen.x.has_extension(saver.extname):
            return None
        now = time.monotonic()
        told: Any = saver.query_info(screen.root)
        last = now - told.idle / 1_000
        if not self._began - _SLACK_S <= last <= self._ended + _SLACK_S:
            self._person_at = max(self._person_at, last)
        return now - self._person_at


def hands(name: str) -> Hands:
    """Return those on the X server of this name."""
    return _hands.setdefault(name, Hands())
