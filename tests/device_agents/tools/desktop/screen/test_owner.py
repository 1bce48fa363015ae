"""What the device's owner has not allowed, and a desktop that is locked, foreign, or gone."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dbus_fast import PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

from device_agents.tools import Settings
from device_agents.tools.base import Tool
from device_agents.tools.desktop.screen import screen_vitals, tools
from device_agents.tools.desktop.screen.locks import locked
from device_agents.tools.desktop.screen.settings import ScreenSettings

from ...bench import Bench, failing
from .stands import desk, lacking, tool

NODE = ":1.1/org/a11y/atspi/accessible/1"
CALLS: dict[str, dict[str, Any]] = {
    "window.list": {},
    "window.focus": {"window": 1},
    "screen.shot": {},
    "screen.text": {},
    "pointer.click": {"x": 1, "y": 1},
    "pointer.scroll": {"x": 1, "y": 1, "direction": "up"},
    "keyboard.type": {"text": "x"},
    "keyboard.press": {"keys": "a"},
    "clipboard.read": {},
    "clipboard.write": {"text": "x"},
    "access.tree": {},
    "access.read": {"node": NODE},
    "access.set_text": {"node": NODE, "text": "x"},
    "access.press": {"node": NODE},
    "program.start": {"program": "x"},
    "program.stop": {"id": "x:00000000"},
}
ACTING = ["window.focus", "pointer.click", "pointer.scroll", "keyboard.type", "keyboard.press"]
ACTING += ["access.set_text", "access.press"]
SETTING = {"window.list": "look", "screen": "look", "access.tree": "look", "access.read": "look"}
SETTING |= {"clipboard": "clipboard", "program": "programs."}
on_a_desk = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_TYPE", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def of(settings: ScreenSettings, name: str) -> Tool:
    return next(each for each in tools(settings) if each.name == name)


@pytest.mark.parametrize("name", CALLS)
def test_without_a_word_of_the_owner_nothing_is_done_or_offered(bench: Bench, name: str):
    closed = of(ScreenSettings(display=":0"), name)
    setting = SETTING.get(name) or SETTING.get(name.partition(".")[0]) or "input"

    with failing("denied", setting, "agent.toml"):
        bench.call(closed, **CALLS[name])
    with failing("denied", setting, "agent.toml"):
        asyncio.run(closed.probe(bench.guard))


def test_the_settings_in_the_manual_are_settings():
    page = (Path(__file__).parents[5] / "docs" / "desktops.md").read_text("utf-8")
    written = page.partition("## Screen")[2].partition("```toml\n")[2].partition("```")[0]

    found = msgspec.toml.decode(written, type=Settings).desktop.screen

    assert (found.look, found.input, found.clipboard, sorted(found.programs)) == (
        True,
        True,
        True,
        ["editor", "terminal"],
    )


@on_a_desk
def test_looking_does_not_allow_acting(bench: Bench):
    for name in ACTING:
        with failing("denied", "input = true"):
            bench.call(tool(name, input=False), **CALLS[name])


OPEN = {"look": True, "input": True, "clipboard": True, "programs": {"x": ("true",)}}


@pytest.mark.parametrize("name", CALLS)
def test_under_wayland_the_tools_withdraw_and_say_what_to_do(bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    monkeypatch.setenv("DISPLAY", ":0")

    with failing("not_supported", "Wayland", "X11"):
        asyncio.run(of(ScreenSettings(**OPEN), name).probe(bench.guard))


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_on_another_system_the_tools_withdraw(bench: Bench, system: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", system)

    with failing("not_supported", system):
        asyncio.run(of(ScreenSettings(**OPEN), "screen.shot").probe(bench.guard))


def test_without_a_display_the_tools_say_where_to_name_one(bench: Bench):
    with failing("unavailable", "agent.toml"):
        asyncio.run(of(ScreenSettings(**OPEN), "window.list").probe(bench.guard))
    assert screen_vitals(ScreenSettings()) == (None, None)


@pytest.fixture
def silent_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the name of an X server that takes connections and never answers."""
    monkeypatch.setattr("device_agents.tools.desktop.screen.display._ANSWER_S", 0.3)
    for number in range(1_000, 1_100):
        try:
            with socket.create_server(("127.0.0.1", 6_000 + number)):
                yield f"127.0.0.1:{number}"
                return
        except OSError:
            continue


@pytest.mark.parametrize("name", ["window.list", "screen.shot", "keyboard.type", "clipboard.write"])
def test_an_x_server_that_hangs_holds_nothing_up(bench: Bench, silent_display: str, name: str):
    settings = ScreenSettings(display=silent_display, **OPEN)

    with failing("unavailable", silent_display, retryable=True):
        bench.call(of(settings, name), **CALLS[name])
    assert screen_vitals(settings) == (None, None)


def test_an_x_server_that_is_gone_or_has_no_name_is_told(bench: Bench):
    for display in (":9999", "no display at all"):
        with failing("unavailable", retryable=True):
            bench.call(of(ScreenSettings(display=display, **OPEN), "window.list"))
        assert screen_vitals(ScreenSettings(display=display)) == (None, None)


@on_a_desk
def test_a_bus_that_is_gone_is_told(bench: Bench):
    for address in ("unix:path=/nowhere/bus", "nonsense", "tcp:host=127.0.0.1,port=1"):
        with failing("unavailable", retryable=True):
            bench.call(tool("access.tree", session_bus=address))
        assert screen_vitals(desk().settings(session_bus=address))[1] is None


class Saver(ServiceInterface):
    def __init__(self, active: bool) -> None:
        super().__init__("org.freedesktop.ScreenSaver")
        self._active = active

    @dbus_method()
    def GetActive(self) -> DBusBool:
        return self._active


class Login(ServiceInterface):
    def __init__(self, locked: bool) -> None:
        super().__init__("org.freedesktop.login1.Session")
        self._locked = locked

    @dbus_property(access=PropertyAccess.READ)
    def LockedHint(self) -> DBusBool:
        return self._locked


@asynccontextmanager
async def serving(name: str, path: str, interface: ServiceInterface) -> AsyncIterator[None]:
    bus = await MessageBus(bus_address=desk().env["DBUS_SESSION_BUS_ADDRESS"]).connect()
    try:
        bus.export(path, interface)
        await bus.request_name(name)
        yield
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()


SAVER = "org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"
LOGIN = "org.freedesktop.login1", "/org/freedesktop/login1/session/auto"


@on_a_desk
def test_nothing_is_typed_or_clicked_while_the_screen_is_locked(bench: Bench):
    async def tried() -> None:
        async with serving(*SAVER, Saver(active=True)):
            assert await locked(desk().settings()) is True
            for name in ACTING:
                with failing("screen_locked", retryable=True):
                    await bench.run(tool(name), **CALLS[name])

    asyncio.run(tried())


@on_a_desk
def test_a_screen_is_locked_if_anybody_says_so_and_open_if_somebody_says_that(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", desk().env["DBUS_SESSION_BUS_ADDRESS"])

    async def told() -> list[bool | None]:
        settings = desk().settings()
        found = [await locked(settings)]
        async with serving(*SAVER, Saver(active=False)):
            found.append(await locked(settings))
            async with serving(*LOGIN, Login(locked=True)):
                found.append(await locked(settings))
        async with serving(*LOGIN, Login(locked=False)):
            found.append(await locked(settings))
        return found

    assert asyncio.run(told()) == [None, False, True, False]


@on_a_desk
def test_the_vitals_tell_who_is_there_and_whether_it_is_locked():
    in_use, is_locked = screen_vitals(desk().settings(in_use_s=86_400))

    assert (in_use, is_locked) == (True, None)  # the X server has begun with somebody there
