"""Devices in this process: the real session and desk, over a socket of two queues. A test answers their calls."""

import asyncio
import base64
from collections import deque
from typing import Any, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Raw

from device_agents.desk import Begin, Chore, Desk, Halt, Keep, Say
from protocol.codec import proof_of
from protocol.link import SocketClosed
from protocol.messages import AnyMessage, Assign, Bye, Challenge, Hello, Message, Report, Welcome
from protocol.session import Session
from protocol.states import DEVICE
from protocol.vocabulary import VERSION, Effect, Failure, Kind, Outcome, Profile, ToolSpec

from .helpers import WITHIN_S, Node

M = TypeVar("M", bound=Message)


class End:
    """One end of a socket."""

    def __init__(self) -> None:
        self.peer: End
        self._came: asyncio.Queue[bytes | str | None] = asyncio.Queue()
        self._closed = False

    async def recv(self) -> bytes | str:
        frame = await self._came.get()
        if frame is None:
            self._closed = True
            self._came.put_nowait(None)
            raise SocketClosed("cut")
        return frame

    async def send(self, frame: bytes | str) -> None:
        if self._closed:
            raise SocketClosed("cut")
        self.peer._came.put_nowait(frame)

    async def close(self, code: int = 1000) -> None:
        await self.abort()

    async def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self.peer._came.put_nowait(None)


def wire() -> tuple[End, End]:
    """Return both ends of a new socket."""
    one, other = End(), End()
    one.peer, other.peer = other, one
    return one, other


def spec(name: str, effect: Effect = Effect.PURE) -> ToolSpec:
    return ToolSpec(name, f"does {name}", effect, Raw(b"{}"), Raw(b"{}"))


class Device:
    """One device and its key. It hears and speaks only when the test lets it."""

    def __init__(self, node: Node, name: str, *, effect: Effect = Effect.PURE, slots: int = 1) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.profile = Profile(Kind.SERVER, slots, (spec("work", effect),))
        self.boot = f"{name}-boot-1"
        self.journal = f"{name}-journal"
        self.session = Session(DEVICE, now=node.clock())
        self.desk = Desk([])
        self.welcome: Welcome | None = None
        self.heard: list[AnyMessage] = []
        self._node = node
        self._end: End
        self._socket: Session
        self._begun: deque[Assign] = deque()
        self._numbers: list[tuple[int, str]] = []

    @property
    def public_key(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    async def join(self) -> None:
        """Join as a person would let it: by a token over HTTP."""
        token = (await self._node.http.post("/v1/join-tokens")).json()["token"]
        body = {"token": token, "name": self.name, "public_key": self.public_key}
        answer = await self._node.http.post("/v1/join", json=body)
        assert answer.status_code == 201, answer.text

    async def dial(self) -> asyncio.Task[None]:
        """Open a socket, and hear the challenge."""
        self._end, other = wire()
        self._socket = Session(DEVICE, now=self._node.clock())
        self.welcome = None
        return self._node.start(self._node.gateway.serve(other))

    async def connect(self) -> None:
        """Dial, prove the key, and be welcome; return when the galaxy has recorded that the device is here."""
        await self.dial()
        while self.welcome is None:
            await self.step()
        await self._node.runner.durable()

    def restart(self) -> None:
        """Forget everything, as an agent whose machine lost power."""
        self.boot, self.desk = f"{self.boot}+", Desk([])
        self.session = Session(DEVICE, now=self._node.clock())
        self._begun.clear()
        self._numbers.clear()

    async def cut(self) -> None:
        """Break the socket."""
        await self._end.close()

    async def step(self) -> list[AnyMessage]:
        """Hear one frame and answer it."""
        async with asyncio.timeout(WITHIN_S):
            frame = await self._end.recv()
        messages = self._socket.receive(frame, self._node.clock())
        for message in messages:
            self.heard.append(message)
            match message:
                case Challenge():
                    self._socket.send(self.hello(message))
                case Welcome():
                    self._welcomed(message)
                case _:
                    self._do(self.desk.hear(message, self._node.clock()))
        self._socket.settle(self._socket.heard, self._node.clock())
        done = [attempt for number, attempt in self._numbers if number <= self._socket.acked]
        self.desk.acknowledged(done)
        await self.flush()
        return messages

    async def hear(self, kind: type[M]) -> M:
        """Return the next message of a kind that has not been asked for."""
        while True:
            for message in self.heard:
                if isinstance(message, kind):
                    self.heard.remove(message)
                    return message
            await self.step()

    async def call(self) -> Assign:
        """Return the next call that is begun here."""
        while not self._begun:
            await self.step()
        return self._begun.popleft()

    async def bye(self) -> Bye:
        return await self.hear(Bye)

    async def until_acknowledged(self) -> None:
        """Return when nothing is owed any more."""
        while self.desk.owed:
            await self.step()

    async def say(self, *messages: Message) -> None:
        """Say something, whatever the desk thinks of it."""
        for message in messages:
            self._send(message)
        await self.flush()

    async def send_frame(self, frame: bytes | str) -> None:
        await self._end.send(frame)

    async def flush(self) -> None:
        for frame in self._socket.frames_to_send(self._node.clock()):
            await self._end.send(frame)

    async def succeed(self, call: Assign, result: Any = None) -> None:
        """Let the call end well, and the galaxy record that."""
        await self.report(Report(call.attempt, Outcome.SUCCEEDED, Raw(msgspec.json.encode(result)), ran_s=0.5))

    async def fail(self, call: Assign, code: str = "broken", *, retryable: bool = False) -> None:
        await self.report(Report(call.attempt, Outcome.FAILED, failure=Failure(code, f"it is {code}", retryable)))

    async def report(self, report: Report) -> None:
        self.finish(report)
        await self.flush()
        await self.until_acknowledged()

    def finish(self, report: Report) -> None:
        """Let a call end; it is said by the next `flush`, on this socket or the next."""
        self._do(self.desk.finished(report, self._node.clock()))

    def hello(self, challenge: Challenge) -> Hello:
        proof = proof_of(challenge.galaxy, challenge.nonce, self.name, self.boot)
        return Hello(
            device=self.name,
            signature=base64.b64encode(self.key.sign(proof)).decode(),
            version=VERSION,
            boot=self.boot,
            profile=self.profile,
            session=self.session.id,
            heard=self.session.heard,
            held=self.desk.held(),
            journal=self.journal,
        )

    def _welcomed(self, welcome: Welcome) -> None:
        self.welcome = welcome
        if welcome.resumed:
            self._socket.resume(self.session, welcome.heard)
            self.session = self._socket
            return
        self.session = self._socket
        self._numbers.clear()
        for message in self.desk.said_anew():
            self._send(message)

    def _send(self, message: Message) -> None:
        number = self.session.send(message)
        if isinstance(message, Report):
            self._numbers.append((number, message.attempt))

    def _do(self, chores: list[Chore]) -> None:
        for chore in chores:
            match chore:
                case Begin(assign=assign):
                    self._begun.append(assign)
                case Keep(report=message) | Say(message=message):
                    self._send(message)
                case Halt():
                    pass


async def connected(node: Node, name: str = "laptop", *, effect: Effect = Effect.PURE, slots: int = 1) -> Device:
    """Return a device that has joined and is connected."""
    device = Device(node, name, effect=effect, slots=slots)
    await device.join()
    await device.connect()
    return device


async def said(end: End, code: str) -> bool:
    """Return whether the node says goodbye with this code, whatever it says before."""
    while True:
        if b'"type":"bye"' in (frame := await end.recv()):  # type: ignore[operator]
            return f'"code":"{code}"'.encode() in frame  # type: ignore[operator]
