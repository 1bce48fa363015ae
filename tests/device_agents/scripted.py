"""A Galaxy that says what the test says, over real sockets; and an agent that talks to it."""

import asyncio
import base64
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.asyncio.server import ServerConnection, serve

from device_agents.agent import Agent, Parts
from device_agents.identity import Identity, Membership
from device_agents.outbox import Outbox
from device_agents.reconnect import Reconnect
from device_agents.shelf import Shelf
from device_agents.tools.base import Tool, spec_of
from device_agents.work import Bench
from protocol.codec import proof_of, unframed
from protocol.link import DialledSocket, Link
from protocol.messages import AnyMessage, Assign, Bye, Challenge, Hello, Message, Report, Welcome
from protocol.session import Session
from protocol.states import GALAXY
from protocol.vocabulary import SUBPROTOCOL, VERSION, Kind, Outcome, Profile

from .helpers import Gate, bench_of, running

M = TypeVar("M", bound=Message)
WITHIN_S = 10.0


class Line(DialledSocket):
    """One socket from a device, its session, what came over it, and the frames that it came in."""

    def __init__(self, connection: ServerConnection, now: float) -> None:
        super().__init__(connection)  # type: ignore[arg-type]  # alike in what is used of it
        self.transport = connection.transport
        self.session = Session(GALAXY, now=now)
        self.link: Link
        self.challenge: Challenge
        self.hello: Hello | None = None
        self.heard: asyncio.Queue[AnyMessage] = asyncio.Queue()
        self.frames: list[list[AnyMessage]] = []

    async def recv(self) -> bytes | str:
        frame = await super().recv()
        self.frames.append(list(unframed(frame).messages))
        return frame

    def say(self, *messages: Message) -> None:
        """Say these, in one frame."""
        for message in messages:
            self.session.send(message)
        self.link.wake()

    def cut(self) -> None:
        """Break the socket, without a word."""
        self.transport.abort()

    def acknowledge(self) -> None:
        self.session.settle(self.session.heard, time.monotonic())
        self.link.wake()

    async def next(self, kind: type[M]) -> M:
        """Return the next message of this kind; others before it are passed over."""
        async with asyncio.timeout(WITHIN_S):
            while not isinstance(message := await self.heard.get(), kind):
                pass
        return message


class ScriptedGalaxy:
    """The end that is not under test. It acknowledges at once, unless told otherwise."""

    def __init__(self) -> None:
        self.id = "g1"
        self.key = Ed25519PrivateKey.generate()
        self.versions = (VERSION, VERSION)
        self.acknowledges = True
        self.remembers = True  # sessions, so that a device may resume
        self.open = asyncio.Event()  # until then, devices may dial and are not greeted
        self.open.set()
        self.dialled = asyncio.Event()
        self.port = 0
        self._lines: asyncio.Queue[Line] = asyncio.Queue()
        self._last: Line | None = None

    async def line(self) -> Line:
        """Return the next line on which a device was made welcome."""
        async with asyncio.timeout(WITHIN_S):
            return await self._lines.get()

    async def cut_and_shut(self, line: Line) -> None:
        """Break the socket, and return when the device has dialled again, in vain until `open` is set."""
        self.open.clear()
        self.dialled.clear()
        line.cut()
        async with asyncio.timeout(WITHIN_S):
            await self.dialled.wait()

    async def connected(self, connection: ServerConnection) -> None:
        line = Line(connection, time.monotonic())
        self.dialled.set()
        await self.open.wait()
        line.challenge = Challenge(self.id, secrets.token_hex(8), *self.versions)
        line.session.send(line.challenge)
        line.link = Link(line.session, line, time.monotonic)
        await line.link.run(partial(self._hear, line))

    async def _hear(self, line: Line, messages: list[AnyMessage]) -> None:
        for message in messages:
            if isinstance(message, Hello):
                self._welcome(line, message)
            else:
                line.heard.put_nowait(message)
            if isinstance(message, Bye) and line.hello is None:
                self._lines.put_nowait(line)  # it would not even be greeted
        if self.acknowledges and line.session.id:
            line.acknowledge()

    def _welcome(self, line: Line, hello: Hello) -> None:
        require_signed(hello, line.challenge, self.key)
        line.hello, before = hello, self._last
        self._last = line
        resumed = bool(before and self.remembers and hello.session and hello.session == before.session.id)
        if resumed:
            assert before
            line.session.resume(before.session, hello.heard)
        session = line.session.id or secrets.token_hex(4)
        line.session.send(Welcome(session, resumed, line.session.heard, 5.0, 100, "an artifact token"))
        self._lines.put_nowait(line)


@asynccontextmanager
async def scripted_galaxy() -> AsyncIterator[ScriptedGalaxy]:
    galaxy = ScriptedGalaxy()
    options: dict[str, Any] = {"subprotocols": [SUBPROTOCOL], "ping_interval": None, "close_timeout": 0.5}
    async with serve(galaxy.connected, "127.0.0.1", 0, **options) as server:
        galaxy.port = next(iter(server.sockets)).getsockname()[1]
        yield galaxy
        galaxy.open.set()


class NotedDelays(Reconnect):
    """Dials again at once, and notes how long it would have waited, and why."""

    def __init__(self) -> None:
        super().__init__(Random(7))
        self.noted: list[tuple[float, float]] = []  # lasted, delay
        self.enough = asyncio.Event()

    def ended(self, lasted_s: float, retry_after_s: float = 0.0) -> float:
        self.noted.append((lasted_s, super().ended(lasted_s, retry_after_s)))
        if len(self.noted) >= 5:
            self.enough.set()
        return 0.01


class Device:
    """What an agent is made of, and the agents that were made of it, one after the other."""

    def __init__(self, folder: Path, galaxy: ScriptedGalaxy, *tools: Tool, bench: Bench | None = None) -> None:
        self.folder = folder
        self.galaxy = galaxy
        self.bench = bench or bench_of(folder, *tools)
        self.delays = NotedDelays()
        self.now: Callable[[], float] = time.monotonic
        self.leave: Callable[[int], object] = lambda code: None
        self.outbox: Outbox
        self.agent: Agent

    def agent_of(self) -> Agent:
        """Return a new agent on the same folder."""
        url = f"http://127.0.0.1:{self.galaxy.port}"
        self.outbox = Outbox(self.folder / "outbox.db", now=self.now())
        shelf = Shelf(url, self.folder / "cache")
        tools = tuple(spec_of(tool) for tool in self.bench.tools.values())
        self.agent = Agent(
            Parts(
                identity=Identity(self.folder, Membership("laptop", "g1", url), self.galaxy.key),
                profile=Profile(Kind.DESKTOP, 4, tools),
                bench=self.bench,
                shelf=shelf,
                outbox=self.outbox,
                reconnect=self.delays,
                now=self.now,
                leave=self.leave,
            )
        )
        return self.agent

    @asynccontextmanager
    async def runs(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Run a new agent, and stop it at the end if it has not ended."""
        agent = self.agent_of()
        async with running(agent.run()) as [task]:
            yield task
            if not task.done():
                agent.stop()
                async with asyncio.timeout(WITHIN_S):
                    await task

    def reports_on_disk(self) -> list[str]:
        """Return the attempts whose reports another process would find there."""
        outbox = Outbox(self.folder / "outbox.db", now=0.0)
        try:
            return [report.attempt for report in outbox.reports()]
        finally:
            outbox.close()


async def begun(line: Line, gate: Gate, *assigns: Assign) -> None:
    """Give these to the device, and return when they run."""
    line.say(*assigns)
    async with asyncio.timeout(WITHIN_S):
        while len(gate.begun) < len(assigns):
            gate.began.clear()
            await gate.began.wait()


async def until(claim: Callable[[], bool]) -> None:
    """Return when the claim holds: of what is on a disk, which tells nobody when it changes."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(WITHIN_S):
        while not claim():
            later = loop.create_future()
            loop.call_later(0.01, later.set_result, None)
            await later


def reports_in(*lines: Line) -> list[str]:
    """Return the attempts of all reports that came over these lines, each as often as it came."""
    said = (message for line in lines for frame in line.frames for message in frame)
    return [message.attempt for message in said if isinstance(message, Report)]


def outcome_of(report: Report) -> tuple[str, Outcome, str]:
    """Return the attempt, its outcome, and the code of its failure."""
    return report.attempt, report.outcome, report.failure.code if report.failure else ""


def require_signed(hello: Hello, challenge: Challenge, key: Ed25519PrivateKey) -> None:
    """Raise InvalidSignature unless the device's own key has signed this very challenge."""
    proof = proof_of(challenge.galaxy, challenge.nonce, hello.device, hello.boot)
    key.public_key().verify(base64.b64decode(hello.signature), proof)
