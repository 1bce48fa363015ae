"""One browser that a constellation uses: its Chromium, its proxy, Playwright between, and the page that is looked at.

What a page says is data of strangers. Whatever it does, what comes of it has a bound: pages, bytes, times, messages.
"""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ....errors import ToolFailed
from ....guard import Guard
from ... import wanted
from ...http import Resolve
from .chromium import Chromium
from .proxy import Proxy
from .settings import BrowserSettings

PAGES_MAX = 4
VIEW = {"width": 1280, "height": 800}
URL_CHARS_MAX = 2_000
_WORDS_CHARS = 300
_DRIVER_S = 10.0  # to end by itself
_CONNECT_S = 60.0
_SETTLE_S = 5.0  # for the load of what a click led to
_SPARE_S = 0.25  # before the deadline of the call, so that a page that waits in vain does not cost the session
_ENDED_BY_US = {403, 502}  # what the proxy answers instead of a host


class Session:
    """A browser of its own for one name in one constellation, or for one call. Used by one call at a time."""

    def __init__(self, settings: BrowserSettings, guard: Guard, resolve: Resolve) -> None:
        self.is_busy = True
        self.since = time.monotonic()
        self.ending: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.status = 0  # of the last document
        self.chromium: Chromium | None = None
        self.proxy = Proxy(guard, resolve)
        self.browser: Any = None
        self.context: Any = None
        self._settings = settings
        self._guard = guard
        self._deadline = 0.0
        self._crashed = False
        self._wanted = ""  # the document that was asked for last
        self._failed = ""  # the same, if it did not come
        self._driver: Any = None
        self._starting: asyncio.Task[Any] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when it can be used; whatever happens, `end` is to follow."""
        library = wanted.library("playwright.async_api", "desktop")
        self._driver = library.async_playwright()
        # It cannot be cancelled in the middle: a program would be left that nobody knows.
        self._starting = asyncio.get_running_loop().create_task(self._driver.start())
        self.chromium = Chromium()
        port = await self.chromium.start(self._settings, self._guard, await self.proxy.open())
        self.proxy.closed_ports.add(port)
        try:
            playwright = await asyncio.shield(self._starting)
            self.browser = await playwright.chromium.connect_over_cdp(
                self.chromium.address(port),
                is_local=True,
                artifacts_dir=self.chromium.own / "artifacts",
                timeout=_CONNECT_S * 1000,
            )
        except (library.Error, OSError) as exc:
            words = self.chromium.tail.decode("utf-8", "replace").strip()[-_WORDS_CHARS:]
            raise ToolFailed("browser_failed", f"the browser does not start: {words or exc}", retryable=True) from exc
        self.context = await self.browser.new_context(
            viewport=VIEW, accept_downloads=False, service_workers="block", permissions=[]
        )
        self.context.on("page", self._bound)
        self.context.on("request", self._asked)
        self.context.on("response", self._answered)
        self.context.on("requestfailed", self._missed)

    def begin(self, timeout_s: float, bytes_max: int) -> None:
        """A call of so many seconds begins to use it, and may make pages bring so many bytes."""
        self._deadline = time.monotonic() + timeout_s
        self.proxy.begin(bytes_max)
        self._failed = ""

    def take(self) -> None:
        """Nobody else may use it from here on."""
        self.is_busy = True
        if self.timer is not None:
            self.timer.cancel()

    def left_s(self, at_most: float = 1e9) -> float:
        return min(max(self._deadline - time.monotonic() - _SPARE_S, 0.05), at_most)

    def left_ms(self, at_most: float = 1e9) -> float:
        return self.left_s(at_most) * 1000

    def is_sound(self) -> bool:
        """Return whether another call could use it."""
        return (
            self.context is not None
            and self.browser.is_connected()
            and not self._crashed
            and (self.chromium is None or self.chromium.failure is None)
        )

    async def page(self) -> Any:
        """Return the page that is looked at: the one that was opened last."""
        pages = [each for each in self.context.pages if not each.is_closed()]
        return pages[-1] if pages else await self.context.new_page()

    async def go(self, url: str) -> None:
        """Open the address; raise ToolFailed: timeout, denied, and as it failed."""
        page = await self.page()
        self._wanted = url
        self.proxy.overrun = self._close_pages  # what was cut off would be waited for in vain
        try:
            with self.heard(f"opening {shortened(url)}"):
                await page.goto(url, wait_until="domcontentloaded", timeout=self.left_ms())
        finally:
            self.proxy.overrun = None
        self.check_arrived()
        await self.settle(page)

    async def settle(self, page: Any) -> None:
        """Wait a while for what still loads; a page that never has done so is as it is."""
        library = wanted.library("playwright.async_api", "desktop")
        with suppress(library.TimeoutError), self.heard("waiting for the page", keep_timeout=True):
            await page.wait_for_load_state("load", timeout=self.left_ms(_SETTLE_S))

    def check_arrived(self, done: str = "") -> None:
        """Raise ToolFailed if the last document that was asked for did not come, and the proxy knows why."""
        if self._failed and (failure := self.proxy.failure_of(self._failed)) is not None:
            failed = failure.failure
            raise ToolFailed(failed.code, f"{done}{failed.message}", retryable=failed.retryable and not done)

    @contextmanager
    def heard(self, doing: str, *, keep_timeout: bool = False) -> Iterator[None]:
        """Turn what Playwright says into ToolFailed."""
        library = wanted.library("playwright.async_api", "desktop")
        try:
            yield
        except library.TimeoutError as exc:
            if keep_timeout:
                raise
            self.check_arrived()
            if self.proxy.room < 0:
                raise self._failure(doing, exc) from exc
            raise ToolFailed("timeout", f"{doing} takes too long: {_first_line(exc)}", retryable=True) from exc
        except library.Error as exc:
            self.check_arrived()
            raise self._failure(doing, exc) from exc

    async def end(self) -> None:
        """Return when nothing of it is left. Cancelled meanwhile, it is finished all the same."""
        self.take()
        hurried = False
        doing = asyncio.get_running_loop().create_task(self._take_down())
        while not doing.done():
            try:
                await asyncio.wait([doing])
            except asyncio.CancelledError:
                hurried = True
        doing.result()
        if hurried:
            raise asyncio.CancelledError

    async def _take_down(self) -> None:
        try:
            if self.chromium is not None:
                await self.chromium.end()
        finally:
            await self.proxy.close()
            if self._closing is not None:
                await asyncio.wait([self._closing], timeout=_DRIVER_S)
            await self._end_driver()

    async def _end_driver(self) -> None:
        if self._starting is None:
            return
        library = wanted.library("playwright.async_api", "desktop")
        with suppress(library.Error, OSError):
            await asyncio.wait([self._starting], timeout=_DRIVER_S)
            if self._starting.done() and self._starting.exception() is None:
                ended = await _within(_DRIVER_S, self._driver.__aexit__())
                process = getattr(getattr(self._driver._client, "_transport", None), "_proc", None)
                if not ended and process is not None:  # it hangs: a last resort that may cost a warning
                    process.kill()

    def _failure(self, doing: str, exc: Exception) -> ToolFailed:
        if self.chromium is not None and self.chromium.failure is not None:
            return self.chromium.failure
        if self.proxy.room < 0:
            said = "the page brings more than limits.output_bytes in guard.toml"
            return ToolFailed("output_too_large", said)
        words = _first_line(exc)
        if not self.browser.is_connected():
            return ToolFailed("browser_ended", f"the browser has ended while {doing}", retryable=True)
        if "crashed" in words.lower():
            self._crashed = True
            return ToolFailed("page_crashed", f"the page has crashed while {doing}")
        return ToolFailed("browser_failed", f"{doing}: {words}")

    def _close_pages(self) -> None:
        self.proxy.overrun = None
        self._closing = asyncio.get_running_loop().create_task(self._closed_pages())

    async def _closed_pages(self) -> None:
        library = wanted.library("playwright.async_api", "desktop")
        with suppress(library.Error):
            for page in self.context.pages:
                await page.close()

    async def _bound(self, page: Any) -> None:
        """One page too many is closed as it opens."""
        page.on("crash", self._crash)
        library = wanted.library("playwright.async_api", "desktop")
        if len(self.context.pages) > PAGES_MAX:
            with suppress(library.Error):
                await page.close()

    def _crash(self, page: Any) -> None:
        self._crashed = True

    def _asked(self, request: Any) -> None:
        if _is_document(request):
            self._wanted, self._failed, self.status = request.url, "", 0

    def _answered(self, response: Any) -> None:
        if _is_document(response.request):
            self.status = response.status
            if response.status in _ENDED_BY_US:
                self._failed = response.url

    def _missed(self, request: Any) -> None:
        if _is_document(request) and request.url == self._wanted:
            self._failed = request.url


def _is_document(request: Any) -> bool:
    """Return whether it asks for what is to fill a page, and not a frame in it."""
    library = wanted.library("playwright.async_api", "desktop")
    if not request.is_navigation_request():
        return False
    try:
        return request.frame.parent_frame is None
    except library.Error:  # so early that the page has no frame yet
        return True


async def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        return False
    return True


def shortened(url: str) -> str:
    return url if len(url) <= _WORDS_CHARS else url[:_WORDS_CHARS] + "..."


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), "")[:_WORDS_CHARS]
