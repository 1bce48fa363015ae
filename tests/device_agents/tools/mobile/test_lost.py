"""What becomes of a call when the phone, or the way to it, goes away."""

import asyncio
import socket
from pathlib import Path

import psutil
import pytest

from device_agents.tools import mobile
from device_agents.tools.base import Tool
from device_agents.tools.mobile.settings import MobileSettings
from galaxy.cli.local import free_port
from tests.phone import phone

from ..bench import Bench, failing
from .stands import call, settings_of, texts


def tool(bench: Bench, name: str) -> Tool:
    return {each.name: each for each in mobile.tools(settings_of(bench.peer))}[name]


async def while_it_waits(bench: Bench, name: str, **arguments: object) -> None:
    """Call the tool while the phone answers nothing, and take the phone away."""
    bench.peer.tell("stalled", "true")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        calling = group.create_task(bench.run(tool(bench, name), **arguments))
        await asyncio.wait([calling], timeout=0.5)
        assert not calling.done()
        await asyncio.get_running_loop().run_in_executor(None, bench.peer.tell, "leave")
        await asyncio.wait([calling])
    await calling


def test_a_phone_that_goes_away_in_the_middle_is_offline_and_another_try_may_help(bench: Bench):
    for name in ("phone.screen", "phone.screenshot", "phone.battery"):
        bench.peer.tell("reset")
        try:
            asyncio.run(while_it_waits(bench, name))
        except ExceptionGroup as group:
            with failing("device_offline", retryable=True):
                raise group.exceptions[0] from None
    bench.peer.tell("reset")
    assert "Notes" in texts(bench)


def test_a_phone_that_goes_away_while_it_acts_leaves_it_open_whether_it_did(bench: Bench):
    try:
        asyncio.run(while_it_waits(bench, "phone.stop", package="com.galaxy.notes"))
    except ExceptionGroup as group:
        with failing("connection_lost", retryable=True):
            raise group.exceptions[0] from None


def test_a_phone_that_is_away_is_offline_and_one_that_comes_back_is_found_again(bench: Bench):
    bench.peer.tell("leave")
    with failing("device_offline", bench.peer.serial, retryable=True):
        call(bench, "phone.battery")
    bench.peer.tell("return")

    assert call(bench, "phone.battery").level == 0.85


def test_a_phone_that_breaks_off_a_file_is_offline(bench: Bench, tmp_path: Path):
    class Leaving:
        """A file whose reading makes the phone go."""

        def __init__(self) -> None:
            self.left = 100

        def read(self, count: int) -> bytes:
            self.left -= 1
            if self.left == 50:
                bench.peer.tell("leave")
            return b"x" * count if self.left else b""

    from device_agents.tools.mobile.line import on_phone

    with failing("device_offline", retryable=True):
        asyncio.run(on_phone(settings_of(bench.peer), lambda line: line.push(Leaving(), "/sdcard/Download/x")))  # type: ignore[arg-type]


def test_one_phone_need_not_be_named_and_of_two_one_must_be(bench: Bench, tmp_path: Path):
    port = bench.peer.server_port
    assert call(bench, "phone.info", MobileSettings(adb_port=port)).model == "Pixel 7"
    with phone(tmp_path / "second") as second:
        bench.peer.adb("connect", second.serial)
        with failing("unavailable", "serial", "agent.toml", second.serial):
            call(bench, "phone.info", MobileSettings(adb_port=port))
        assert call(bench, "phone.info", MobileSettings(adb_port=port, serial=second.serial)).model == "Pixel 7"
        bench.peer.adb("disconnect", second.serial)


def test_without_any_phone_the_tools_say_so(bench: Bench):
    with failing("device_offline", "nothing", retryable=True):
        call(bench, "phone.info", MobileSettings(adb_port=bench.peer.server_port, serial="nothing"))
    with failing("device_offline", "127.0.0.1:1", retryable=True):
        call(bench, "phone.info", MobileSettings(adb_port=bench.peer.server_port, connect="127.0.0.1:1"))


def test_a_server_of_adb_is_started_here_and_left_running_and_none_elsewhere(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))  # where it leaves its key
    port = free_port()
    settings = settings_of(bench.peer)
    own = MobileSettings(adb_port=port, connect=settings.connect)
    try:
        assert call(bench, "phone.info", own).model == "Pixel 7"
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        assert psutil.Process().children(recursive=True) == []
    finally:
        bench.peer.adb("-P", str(port), "kill-server")
    with failing("unavailable", "serial or connect", "agent.toml"):
        call(bench, "phone.info", MobileSettings(adb_port=port))
    with failing("unavailable", "192.0.2.1", retryable=True):
        call(bench, "phone.info", MobileSettings(adb_host="192.0.2.1", adb_port=port))


def test_a_call_that_is_cancelled_ends_at_once(bench: Bench):
    bench.peer.tell("stalled", "true")

    async def cancelled() -> float:
        loop = asyncio.get_running_loop()
        calling = loop.create_task(bench.run(tool(bench, "phone.screen")))
        await asyncio.wait([calling], timeout=0.3)
        began = loop.time()
        calling.cancel()
        await asyncio.wait([calling], timeout=10)
        assert calling.cancelled()
        return loop.time() - began

    assert asyncio.run(cancelled()) < 1.0
