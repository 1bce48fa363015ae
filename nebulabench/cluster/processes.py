"""A node and agents as processes of their own, each agent behind a proxy of its own.

Only what was started here is stopped, frozen or killed, each by its own id.
"""

import asyncio
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from device_agents.identity import join
from galaxy.cli.local import Program, free_port

from .disk import Disk
from .proxy import Proxy

LOOK_EVERY_S = 0.02
START_WITHIN_S = 30.0
ANSWER_WITHIN_S = 10.0
SLOTS = 8
NODE_MEGABYTES, AGENT_MEGABYTES = 192, 128  # what cells leave behind must not fill them
WRONG = "nebulabench.cluster.skewed"
_UNSEEN: Mapping[str, Any] = {"presence": "", "withdrawn": {}}


class NotInTime(Exception):
    """Something did not come about within its time; the message says what."""


async def until(claim: Callable[[], Any], what: str, within_s: float = START_WITHIN_S) -> None:
    """Return when the claim holds; raise NotInTime. Processes tell nobody how they are: they are looked at."""
    deadline = time.monotonic() + within_s
    while not (await held if asyncio.iscoroutine(held := claim()) else held):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {within_s:g} s: {what}")
        await asyncio.sleep(LOOK_EVERY_S)


@dataclass(slots=True)
class Device:
    """One agent, with its network and its disk."""

    name: str
    program: Program
    proxy: Proxy
    disk: Disk


@dataclass(slots=True)
class Cluster:
    """One node and its devices, under one folder; everything they say is kept there."""

    folder: Path
    heartbeat_s: float
    guard: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    devices: dict[str, Device] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    node: Program = field(init=False)
    disk: Disk = field(init=False)
    _http: httpx2.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        self.disk = Disk(self.folder / "node", NODE_MEGABYTES)
        options = ["--heartbeat-s", str(self.heartbeat_s), "--durability", "process"]
        words = ["serve", "--data", str(self.disk.folder), "--port", str(self.port), *options]
        self.node = self._program("node", "galaxy.cli.__main__", words, {"GALAXY_TOKEN": self.token})
        self._http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=ANSWER_WITHIN_S,
            trust_env=False,
        )

    async def request(self, method: str, path: str, **more: Any) -> Any:
        """Return what the node answers, past all proxies; raise httpx2.HTTPError, with the problem's words."""
        answer = await self._http.request(method, path, **more)
        if not answer.is_success:
            raise httpx2.HTTPStatusError(answer.text, request=answer.request, response=answer)
        return answer.json()

    async def start_node(self) -> None:
        """Return when the node is ready."""
        self.node.start()
        await self.node_ready()

    async def node_ready(self) -> None:
        await until(self.is_ready, "the node is ready")

    async def is_ready(self) -> bool:
        try:
            return (await self._http.get("/readyz", timeout=2.0)).is_success
        except httpx2.HTTPError:
            return False

    async def add_device(self, name: str, *options: str) -> Device:
        """Join a device through a proxy, and start its agent."""
        proxy = Proxy(self.port)
        await proxy.open()
        disk = Disk(self.folder / name, AGENT_MEGABYTES)
        token = (await self.request("POST", "/v1/join-tokens"))["token"]
        url = f"http://127.0.0.1:{proxy.port}"
        # Elsewhere than in this loop, which is the network that the joining needs.
        await asyncio.get_running_loop().run_in_executor(None, join, disk.folder, url, token, name)
        (disk.folder / "guard.toml").write_text(self.guard, "utf-8")
        words = ["run", "--state", str(disk.folder), "--slots", str(SLOTS), *options]
        program = self._program(name, "device_agents", words, {})
        device = self.devices[name] = Device(name, program, proxy, disk)
        program.start()
        return device

    async def has_withdrawn(self, name: str) -> bool:
        """Return whether the device has withdrawn tools."""
        return bool((await self._seen(name))["withdrawn"])

    async def is_whole(self, name: str) -> bool:
        """Return whether the device is connected, with all its tools."""
        seen = await self._seen(name)
        return bool(seen["presence"] == "connected" and not seen["withdrawn"])

    async def is_connected(self, name: str) -> bool:
        return bool((await self._seen(name))["presence"] == "connected")

    async def is_gone(self, name: str) -> bool:
        return bool((await self._seen(name))["presence"] == "unreachable")

    async def _seen(self, name: str) -> Mapping[str, Any]:
        """Return how the node sees a device; it may be away itself."""
        with suppress(httpx2.HTTPError):
            items = (await self.request("GET", "/v1/devices"))["items"]
            return next((one for one in items if one["id"] == name), _UNSEEN)
        return _UNSEEN

    async def stop(self) -> None:
        """End everything that was started. There is nothing to be kind about."""
        for program in (*(device.program for device in self.devices.values()), self.node):
            program.kill()
        for device in self.devices.values():
            await device.proxy.close()
            device.disk.remove()
        self.disk.remove()
        await self._http.aclose()

    def _program(self, name: str, module: str, words: list[str], environment: dict[str, str]) -> Program:
        command = [sys.executable, "-m", module, *words]
        return Program(name, command, self.folder / f"{name}.log", environment)


@asynccontextmanager
async def cluster(folder: Path, devices: list[str], *, heartbeat_s: float, guard: str) -> AsyncIterator[Cluster]:
    """Lend a cluster with its devices connected; end all of it afterwards, whatever happens."""
    lent = Cluster(folder, heartbeat_s, guard)
    try:
        await lent.start_node()
        for name in devices:
            await lent.add_device(name)
        for name in devices:
            await until(partial(lent.is_connected, name), f"{name} is connected")
        yield lent
    finally:
        await lent.stop()


def freeze(program: Program) -> None:
    """Let a process stand still, with all that it has open."""
    os.kill(pid_of(program), signal.SIGSTOP)


def thaw(program: Program) -> None:
    """Let it go on."""
    os.kill(pid_of(program), signal.SIGCONT)


def pid_of(program: Program) -> int:
    assert program.process
    return program.process.pid


def restarted(program: Program, *, skew_s: float = 0.0) -> None:
    """Kill the process and start it anew, with a wall clock that is wrong by so much."""
    program.kill()
    start = program.command.index("-m")
    module = start + 3 if program.command[start + 1] == WRONG else start + 1
    wrong = [WRONG, str(skew_s)] if skew_s else []
    program.command[start + 1 :] = [*wrong, *program.command[module:]]
    program.start()
