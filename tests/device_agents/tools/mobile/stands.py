"""The phone that the mobile's tools are tried on, and settings that allow everything on it."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device_agents.tools import Settings, mobile
from device_agents.tools.mobile.settings import MobileSettings
from tests.phone import Phone, phone

from ..bench import Bench

MANIFEST = '<manifest package="org.example.lamp" />'


def settings_of(found: Phone, **more: Any) -> MobileSettings:
    allowed = {"touch": True, "apps": ("com.galaxy.*", "org.example.*"), "install": True}
    return MobileSettings(adb_port=found.server_port, connect=found.serial, **{**allowed, **more})


def with_a_phone(bench: Bench) -> Settings:
    return Settings(mobile=settings_of(bench.peer)) if bench.peer else Settings()


@contextmanager
def a_phone(bench: Bench) -> Iterator[Phone]:
    with phone() as found:
        yield found


def stalled(bench: Bench) -> dict[str, Any]:
    """Have every program of the phone wait for ever."""
    bench.peer.tell("stalled", "true")
    return {}


def an_app(bench: Bench) -> dict[str, Any]:
    an_apk(bench.work / "lamp.apk")
    return {"path": "lamp.apk"}


def an_apk(path: Path, manifest: str = MANIFEST) -> None:
    """Write what the phone of the tests takes for an app."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("AndroidManifest.xml", manifest)
        archive.writestr("index.html", '<header>Lamp</header><div class="body"><button id="on">Light</button></div>')


def a_download(bench: Bench) -> dict[str, Any]:
    bench.peer.file("/sdcard/Download/note.txt").write_text("from the phone", "utf-8")
    return {"path": "/sdcard/Download/note.txt"}


def call(bench: Bench, name: str, settings: MobileSettings | None = None, /, **arguments: object) -> Any:
    """Return what the tool of the pack says, with everything allowed unless settings say otherwise."""
    tools = {tool.name: tool for tool in mobile.tools(settings or settings_of(bench.peer))}
    return bench.call(tools[name], **arguments)


def texts(bench: Bench) -> list[str]:
    """Return the texts on the screen."""
    return [each.text for each in call(bench, "phone.screen").elements if each.text]
