"""A node and agents in network namespaces of their own, with links that the kernel itself partitions. Linux, as root.

Each agent has a link of its own to the node. What is dropped is dropped as on a broken network: TCP sends it again,
and nobody is told. Names begin with this process's id, and everything is deleted at the end.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from galaxy.cli.local import Program

PORT = 8642
CLONE_NEWNET = 0x40000000
START_WITHIN_S = 30.0
LOOK_EVERY_S = 0.05

# What an agent's namespace does with packets, by the name of the partition.
RULES = {
    "both-ways": ("in drop", "out drop"),
    "to-node": ("out drop",),
    "to-device": ("in drop",),
    "lossy": ("in numgen random mod 100 < 30 drop", "out numgen random mod 100 < 30 drop"),
    "reset": ("out meta l4proto tcp reject with tcp reset",),
}


def why_not() -> str:
    """Return why this machine cannot do it, or nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "it needs Linux, and root"
    missing = [name for name in ("ip", "nft") if shutil.which(name) is None]
    if missing:
        return f"it needs {' and '.join(missing)}"
    name = f"nb{os.getpid()}t"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)  # noqa: S603, S607
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)  # noqa: S603, S607
    return made.stderr.strip()


@dataclass(slots=True)
class Place:
    """One namespace, and what runs there."""

    name: str
    program: Program


class Network:
    """The node's namespace and the agents'."""

    def __init__(self, folder: Path, *, heartbeat_s: float) -> None:
        self.folder = folder
        self.token = "partitioned-galaxy-token"  # of a node that lives for a minute, in its own network
        self.agents: dict[str, Place] = {}
        self._prefix = f"nb{os.getpid()}"
        _ip("netns", "add", self._name("n"))
        _ip("-n", self._name("n"), "link", "set", "lo", "up")
        words = ["serve", "--data", str(folder / "node"), "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104
        words += ["--insecure-listen", "--heartbeat-s", str(heartbeat_s), "--durability", "process"]
        self.node = self._place("n", "node", ["-m", "galaxy.cli.__main__", *words], {"GALAXY_TOKEN": self.token})
        self._http = httpx2.Client(
            base_url=f"http://127.0.0.1:{PORT}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=10.0,
            trust_env=False,
        )
        self.node.program.start()

    def request(self, method: str, path: str, **more: Any) -> Any:
        """Return what the node answers."""
        with _inside(self.node.name):
            answer = self._http.request(method, path, **more)
        answer.raise_for_status()
        return answer.json()

    def is_ready(self) -> bool:
        with suppress(httpx2.HTTPError):
            return bool(self.request("GET", "/readyz"))
        return False

    def add_agent(self, name: str, guard: str) -> None:
        """Join a device over a link of its own, and start its agent."""
        number = len(self.agents) + 1
        place, here, there = self._name(str(number)), f"{self._prefix}v{number}", f"{self._prefix}w{number}"
        _ip("netns", "add", place)
        _ip("link", "add", here, "netns", self.node.name, "type", "veth", "peer", "name", there, "netns", place)
        for namespace, link, host in ((self.node.name, here, 1), (place, there, 2)):
            _ip("-n", namespace, "addr", "add", f"10.77.{number}.{host}/24", "dev", link)
            _ip("-n", namespace, "link", "set", link, "up")
        token = self.request("POST", "/v1/join-tokens")["token"]
        state = self.folder / name
        words = ["-m", "device_agents", "join", f"http://10.77.{number}.1:{PORT}", token, "--name", name]
        joining = ["ip", "netns", "exec", place, sys.executable, *words, "--state", str(state)]
        subprocess.run(joining, check=True, capture_output=True, timeout=START_WITHIN_S)  # noqa: S603
        (state / "guard.toml").write_text(guard, "utf-8")
        run = ["-m", "device_agents", "run", "--state", str(state), "--slots", "8"]
        self.agents[name] = self._place(str(number), name, run, {})
        self.agents[name].program.start()

    def connected(self) -> bool:
        """Return whether all agents are."""
        devices = {one["id"]: one["presence"] for one in self.request("GET", "/v1/devices")["items"]}
        return all(devices.get(name) == "connected" for name in self.agents)

    def partition(self, agent: str, kind: str) -> None:
        """Let the kernel do this to what the agent sends and gets."""
        rules = ["table inet nb {"]
        for hook, way in (("input", "in "), ("output", "out ")):
            rules += [f"chain {hook} {{", f"type filter hook {hook} priority 0;"]
            rules += [rule.removeprefix(way) for rule in RULES[kind] if rule.startswith(way)]
            rules.append("}")
        self._nft(agent, "\n".join([*rules, "}"]))

    def heal(self, agent: str) -> None:
        self._nft(agent, "delete table inet nb")

    def close(self) -> None:
        """End what was started, and delete what was made."""
        for place in (*self.agents.values(), self.node):
            place.program.kill()
        self._http.close()
        for name in (self._name("n"), *(place.name for place in self.agents.values())):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)  # noqa: S603, S607

    def _name(self, what: str) -> str:
        return f"{self._prefix}{what}"

    def _place(self, what: str, name: str, words: list[str], environment: dict[str, str]) -> Place:
        command = ["ip", "netns", "exec", self._name(what), sys.executable, *words]
        return Place(self._name(what), Program(name, command, self.folder / f"{name}.log", environment))

    def _nft(self, agent: str, rules: str) -> None:
        command = ["ip", "netns", "exec", self.agents[agent].name, "nft", "-f", "-"]
        subprocess.run(command, input=rules, text=True, check=True, capture_output=True)  # noqa: S603


@contextmanager
def network(folder: Path, *, heartbeat_s: float) -> Iterator[Network]:
    """Lend a network whose node is ready."""
    lent = Network(folder, heartbeat_s=heartbeat_s)
    try:
        wait(lent.is_ready, "the node is ready")
        yield lent
    finally:
        lent.close()


def wait(claim: Callable[[], bool], what: str, within_s: float = START_WITHIN_S) -> None:
    """Return when the claim holds; raise TimeoutError."""
    deadline = time.monotonic() + within_s
    while not claim():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_s:g} s: {what}")
        time.sleep(LOOK_EVERY_S)


@contextmanager
def _inside(name: str) -> Iterator[None]:
    """Let what this thread opens be of that namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/var/run/netns/{name}", os.O_RDONLY)
    try:
        if libc.setns(other, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter the namespace")
        try:
            yield
        finally:
            libc.setns(own, CLONE_NEWNET)
    finally:
        os.close(own)
        os.close(other)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S603, S607
