"""The phone's screen: a touch page in Chromium, with some apps, which is touched, typed on and looked at."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from playwright.async_api import Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
_PAGE = Path(__file__).with_name("page.html")
_STEP_S = 0.016
HOME = "com.galaxy.home"

KEYS = {
    "ENTER": "Enter",
    "DEL": "Backspace",
    "FORWARD_DEL": "Delete",
    "TAB": "Tab",
    "ESCAPE": "Escape",
    "DPAD_UP": "ArrowUp",
    "DPAD_DOWN": "ArrowDown",
    "DPAD_LEFT": "ArrowLeft",
    "DPAD_RIGHT": "ArrowRight",
    "PAGE_UP": "PageUp",
    "PAGE_DOWN": "PageDown",
}


class Screen:
    """What a person would see and touch."""

    def __init__(self, page: Page, touch: Any) -> None:
        self._page = page
        self._touch = touch  # a session of the DevTools protocol: playwright itself knows taps only

    @property
    def size(self) -> tuple[int, int]:
        viewport = self._page.viewport_size
        assert viewport is not None
        return viewport["width"], viewport["height"]

    async def reset(self) -> None:
        await self._page.goto(_PAGE.as_uri())

    async def png(self) -> bytes:
        return await self._page.screenshot()

    async def tap(self, x: float, y: float) -> None:
        await self._page.touchscreen.tap(x, y)

    async def swipe(self, start: tuple[float, float], end: tuple[float, float], for_s: float) -> None:
        """Put a finger down, move it, and lift it."""
        steps = max(2, int(for_s / _STEP_S))
        await self._touched("touchStart", start)
        for step in range(1, steps + 1):
            at = [a + (b - a) * step / steps for a, b in zip(start, end, strict=True)]
            await self._touched("touchMove", (at[0], at[1]))
            await self._page.evaluate("new Promise(requestAnimationFrame)")  # the page sees each step
        await self._touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    async def _touched(self, kind: str, at: tuple[float, float]) -> None:
        points = [{"x": at[0], "y": at[1]}]
        await self._touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    async def type(self, text: str) -> None:
        await self._page.keyboard.type(text)

    async def press(self, key: str) -> None:
        await self._page.keyboard.press(KEYS[key])

    async def front(self) -> str:
        return str(await self._page.evaluate("front"))

    async def call(self, function: str, *arguments: object) -> Any:
        return await self._page.evaluate("([name, given]) => window[name](...given)", [function, list(arguments)])

    async def tree(self) -> bytes:
        """Return the page as uiautomator tells it."""
        root = await self.call("dump")
        head = "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?><hierarchy rotation=\"0\">"
        return f"{head}{_element(root) if root else ''}</hierarchy>".encode()


def _element(node: dict[str, Any]) -> str:
    attributes = " ".join(f"{name}={quoteattr(_told(value))}" for name, value in node["attributes"].items())
    inside = "".join(map(_element, node["children"]))
    return f"<node {attributes}>{inside}</node>" if inside else f"<node {attributes} />"


def _told(value: object) -> str:
    """Return it as Android writes it, with a dot for what XML may not hold."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(each if each >= " " or each in "\t\n" else "." for each in text)


@asynccontextmanager
async def screen() -> AsyncIterator[Screen]:
    """Yield the screen of a Pixel 7, one dot for each of its points."""
    async with async_playwright() as playwright:
        profile = {**playwright.devices["Pixel 7"], "device_scale_factor": 1, "viewport": {"width": 412, "height": 839}}
        profile.pop("default_browser_type", None)
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS, headless=True)
        try:
            context = await browser.new_context(**profile)
            page = await context.new_page()
            found = Screen(page, await context.new_cdp_session(page))
            await found.reset()
            yield found
        finally:
            await browser.close()
