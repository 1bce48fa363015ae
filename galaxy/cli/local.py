"""A galaxy on this machine: a node and its agents, each a process of its own, enrolled like any other."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2

START_WITHIN_S = 30.0
STOP_WITHIN_S = 8.0
LOOK_EVERY_S = 0.02


class DidNotStart(Exception):
    """A process ended or stayed silent; the message holds what it said."""


@dataclass(slots=True)
class Program:
    """One process of ours, with its words in a file."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own so that Ctrl-C reaches its owner only."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GALAXY_")} | self.environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  # our own program
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process:
            self.process.kill()
            self.process.wait(STOP_WITHIN_S)

    def ask_to_stop(self) -> None:
        """Let it drain and end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it, kindly at first."""
        self.ask_to_stop()
        if self.process:
            try:
                self.process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def wait_until_it_says(self, words: str, within_s: float = START_WITHIN_S) -> None:
        """Return when these words stand in its log; raise DidNotStart."""
        deadline = time.monotonic() + within_s
        while words not in self.said():
            if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                raise DidNotStart(f"{self.name} does not say {words!r}: {self.said()}")
            time.sleep(LOOK_EVERY_S)

    def said(self) -> str:
        """Return the end of what it said."""
        return self.log.read_text("utf-8", "replace")[-4000:]


class LocalGalaxy:
    """A node and agents under one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        serve: Sequence[str] = (),
        database: str = "",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.token = secrets.token_urlsafe(24)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        where = ["--database", database] if database else []
        command = ["serve", "--data", str(folder / "node"), "--port", str(self.port), *where, *serve]
        self.node = self._program("node", "galaxy.cli.__main__", command, {**environment, "GALAXY_TOKEN": self.token})
        self.agents: dict[str, Program] = {}
        self._http = httpx2.Client(base_url=self.url, headers=self.bearer(), timeout=30.0, trust_env=False)

    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def start_node(self) -> None:
        """Start the node and return when it is ready; raise DidNotStart."""
        self.node.start()
        self.wait_until(self._is_ready, "the node is not ready")

    def add_agent(
        self, name: str, *options: str, guard: str = "", files: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Join an agent with a token of its own and start it; `guard` is its policy, instead of the default.

        `files` are put beside it: name -> text.
        """
        token = self.request("POST", "/v1/join-tokens").json()["token"]
        state = self.folder / name
        words = ["join", self.url, token, "--name", name, "--state", str(state)]
        joining = [sys.executable, "-m", "device_agents", *words]
        joined = subprocess.run(  # noqa: S603  # our own program
            joining, capture_output=True, text=True, timeout=START_WITHIN_S, check=False
        )
        if joined.returncode:
            raise DidNotStart(f"{name} could not join: {joined.stderr}")
        for file, text in {**files, **({"guard.toml": guard} if guard else {})}.items():
            (state / file).write_text(text, "utf-8")
        agent = self._program(name, "device_agents", ["run", "--state", str(state), *options], {})
        self.agents[name] = agent
        agent.start()

    def wait_for_agents(self) -> None:
        """Return when every agent is connected; raise DidNotStart."""
        self.wait_until(self._all_connected, "an agent is not connected")

    def request(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Return an answer; raise httpx2.HTTPError for any that is not a success."""
        answer = self._http.request(method, path, **more)
        answer.raise_for_status()
        return answer

    def stop(self) -> None:
        """End everything that was started."""
        programs = [*self.agents.values(), self.node]
        for program in programs:
            program.ask_to_stop()
        for program in programs:
            program.stop()
        self._http.close()

    def wait_until(self, claim: Any, otherwise: str, within_s: float = START_WITHIN_S) -> None:
        """Return when the claim holds; raise DidNotStart with what the processes said."""
        deadline = time.monotonic() + within_s
        while not claim():
            ended = [p for p in (self.node, *self.agents.values()) if p.process and p.process.poll() is not None]
            if ended or time.monotonic() > deadline:
                said = "\n".join(f"{p.name}: {p.said()}" for p in ended or (self.node, *self.agents.values()))
                raise DidNotStart(f"{otherwise}:\n{said}")
            time.sleep(LOOK_EVERY_S)

    def _is_ready(self) -> bool:
        try:
            return self._http.get("/readyz", timeout=2.0).is_success
        except httpx2.HTTPError:
            return False

    def _all_connected(self) -> bool:
        with suppress(httpx2.HTTPError):
            devices = {one["id"]: one["presence"] for one in self.request("GET", "/v1/devices").json()["items"]}
            return all(devices.get(name) == "connected" for name in self.agents)
        return False

    def _program(self, name: str, module: str, words: list[str], environment: dict[str, str]) -> Program:
        self.folder.mkdir(parents=True, exist_ok=True)
        return Program(name, [sys.executable, "-m", module, *words], self.folder / f"{name}.log", environment)


@contextmanager
def local_galaxy(folder: Path, **options: Any) -> Iterator[LocalGalaxy]:
    """Lend a galaxy with its node ready; end all of it afterwards, whatever happens."""
    galaxy = LocalGalaxy(folder, **options)
    try:
        galaxy.start_node()
        yield galaxy
    finally:
        galaxy.stop()


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
