"""The browsers that are open, by constellation and name; and what every tool of the browser is told alike."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from ....errors import ToolFailed
from ....guard import Guard
from ... import wanted
from ...base import Context
from ...http import Resolve, allowed_addresses
from .chromium import program
from .session import Session, shortened
from .settings import BrowserSettings

_PORTS = {"http": 80, "https": 443}
Url = Annotated[
    str, Meta(max_length=8_000, description="http or https. Opened first; needed where no session is open.")
]


class Wish(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """In which browser, and for how long."""

    session: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9_.-]{0,60}$",
            description="A name in this constellation; its browser stays open. Empty: for this call only.",
        ),
    ] = ""
    url: Url | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=600, description="For all of it.")] = 30


class Sessions:
    """Opens browsers, lends each to one call at a time, and ends those that nobody uses."""

    def __init__(self, settings: BrowserSettings, resolve: Resolve) -> None:
        self._settings = settings
        self._resolve = resolve
        self._open: dict[tuple[str, str], Session] = {}
        self._numbers = count()

    def check(self) -> None:
        """Raise ToolFailed if there is nothing to open a browser with."""
        wanted.found("playwright", "desktop")
        program(self._settings)

    @asynccontextmanager
    async def lent(
        self, wish: Wish, context: Context, *, bytes_max: int = 0, opens: bool = True
    ) -> AsyncIterator[Session]:
        """Yield the browser of this name, or a new one, with its page open unless whoever asks `opens` it himself.

        So many bytes may come beside what a page may bring anyway.
        """
        guard = context.guard
        guard.check_timeout(wish.timeout_s)
        self.check()
        key = self._key(wish, context)
        session = self._open.get(key)
        if session is not None and session.is_busy:
            raise ToolFailed("session_busy", f"another star is using the session {wish.session}", retryable=True)
        if session is not None and not session.is_sound():
            await self._ended(key, session)
            session = None
        if session is None and wish.url is None:
            said = f"no session {wish.session} is open" if wish.session else "no session is named"
            raise ToolFailed("no_session", f"{said}: give a url, or let browser.open open one first")
        if session is not None:
            session.take()
        stays = False
        try:
            async with asyncio.timeout(wish.timeout_s):
                if wish.url is not None:
                    await self._check_url(wish.url, guard)
                is_new = session is None
                if session is None:
                    session = await self._room_for(key, guard)
                session.begin(wish.timeout_s, guard.limits.output_bytes + bytes_max)
                if is_new:
                    await session.start()
                if wish.url is not None and opens:
                    await session.go(wish.url)
                yield session
            stays = True
        except TimeoutError:
            said = f"the browser was ended after {wish.timeout_s:g} s"
            raise ToolFailed("timeout", said, retryable=True) from None
        except ToolFailed:
            stays = True
            raise
        finally:
            if session is not None and session is self._open.get(key):
                if stays and wish.session and session.is_sound():
                    self._rest(key, session)
                else:
                    await self._ended(key, session)

    async def closed(self, name: str, context: Context) -> bool:
        """Return whether there was one to end."""
        key = (_constellation(context), name)
        session = self._open.get(key)
        if session is None:
            return False
        if session.is_busy:
            raise ToolFailed("session_busy", f"another star is using the session {name}", retryable=True)
        await self._ended(key, session)
        return True

    async def kept(self) -> None:
        """Run for as long as the agent does, and end all browsers with it."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """End every one of them."""
        for key, session in list(self._open.items()):
            await self._ended(key, session)

    def _key(self, wish: Wish, context: Context) -> tuple[str, str]:
        return _constellation(context), wish.session or f"#{next(self._numbers)}"

    async def _check_url(self, url: str, guard: Guard) -> None:
        """Refuse at once what the proxy would refuse, and what is not of the web at all: file:, chrome:, data:, ..."""
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise ToolFailed("bad_url", f"{shortened(url)!r}: {exc}") from exc
        if parts.scheme not in _PORTS or not host:
            raise ToolFailed("bad_url", f"{shortened(url)!r} is not the address of something on http or https")
        if parts.username is not None:
            raise ToolFailed("bad_url", f"a user's name or password has no place in an address ({host})")
        guard.check_origin(host.casefold(), port or _PORTS[parts.scheme])
        await allowed_addresses(self._resolve, guard, host.casefold(), port or _PORTS[parts.scheme])

    async def _room_for(self, key: tuple[str, str], guard: Guard) -> Session:
        session = Session(self._settings, guard, self._resolve)
        while len(self._open) >= self._settings.sessions_max:
            idle = [(each.since, other) for other, each in self._open.items() if not each.is_busy]
            if not idle:
                most = self._settings.sessions_max
                raise ToolFailed("too_many_sessions", f"{most} browsers are in use", retryable=True)
            oldest = min(idle)[1]
            await self._ended(oldest, self._open[oldest])
        if key in self._open:
            raise ToolFailed("session_busy", f"another star is opening the session {key[1]}", retryable=True)
        self._open[key] = session
        return session

    def _rest(self, key: tuple[str, str], session: Session) -> None:
        session.is_busy, session.since = False, time.monotonic()
        loop = asyncio.get_running_loop()
        session.timer = loop.call_later(self._settings.idle_s, self._expired, key, session)

    def _expired(self, key: tuple[str, str], session: Session) -> None:
        if self._open.get(key) is session and not session.is_busy:
            session.is_busy = True
            session.ending = asyncio.get_running_loop().create_task(self._ended(key, session))

    async def _ended(self, key: tuple[str, str], session: Session) -> None:
        """End it; its place is free only then, for until then it takes memory."""
        session.is_busy = True
        try:
            await session.end()
        finally:
            if self._open.get(key) is session:
                del self._open[key]


def _constellation(context: Context) -> str:
    return context.attempt.partition("/")[0]
