"""Thousands of devices' sessions in one process: `crowd URL KEY FIRST LAST`. A line on its input cuts them all.

Each is a real session over a real WebSocket with the agent's own back-off. It accepts what it is given, and holds it.
"""

import asyncio
import base64
import gc
import sys
import time
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Raw

from device_agents.reconnect import Reconnect
from protocol.codec import proof_of
from protocol.link import DialledSocket, Link, SocketClosed, dial
from protocol.messages import Accept, AnyMessage, Assign, Bye, Challenge, Hello, Welcome
from protocol.session import Session
from protocol.states import DEVICE
from protocol.vocabulary import VERSION, Effect, Held, Holding, Kind, Profile, ToolSpec

TOOL = "hold"
PROFILE = Profile(Kind.EDGE, 1, (ToolSpec(TOOL, "holds on", Effect.IDEMPOTENT, Raw(b"{}"), Raw(b"{}")),))
STARTS_PER_S = 250


def name_of(number: int) -> str:
    return f"c{number:05}"


class Member:
    """One device."""

    def __init__(self, number: int, url: str, key: Ed25519PrivateKey) -> None:
        self.socket: DialledSocket | None = None
        self._name, self._url, self._key = name_of(number), url, key
        self._boot = f"boot-{number}"
        self._held: dict[str, None] = {}
        self._session = Session(DEVICE, now=time.monotonic())
        self._reconnect = Reconnect(Random(number))
        self._bye: Bye | None = None
        self._welcome_at: float | None = None

    async def live(self, after_s: float) -> None:
        """Dial for ever."""
        while True:
            await asyncio.sleep(after_s)
            self._bye, self._welcome_at = None, None
            try:
                self.socket = await dial(self._url)
            except (OSError, TimeoutError, SocketClosed):
                after_s = self._reconnect.ended(0.0)
                continue
            link = Link(Session(DEVICE, now=time.monotonic()), self.socket, time.monotonic)

            async def hear(messages: list[AnyMessage], session: Session = link.session) -> None:
                for message in messages:
                    self._hear(session, message)
                session.settle(session.heard, time.monotonic())

            await link.run(hear)
            after_s = self._reconnect.after(self._lasted_s(), self._bye)

    def _lasted_s(self) -> float:
        return time.monotonic() - self._welcome_at if self._welcome_at else 0.0

    def _hear(self, session: Session, message: AnyMessage) -> None:
        match message:
            case Challenge():
                signature = self._key.sign(proof_of(message.galaxy, message.nonce, self._name, self._boot))
                held = tuple(Held(attempt, Holding.RUNNING) for attempt in self._held)
                session.send(
                    Hello(
                        device=self._name,
                        signature=base64.b64encode(signature).decode(),
                        version=VERSION,
                        boot=self._boot,
                        profile=PROFILE,
                        session=self._session.id,
                        heard=self._session.heard,
                        held=held,
                    )
                )
            case Welcome():
                self._welcome_at = time.monotonic()
                if message.resumed:
                    session.resume(self._session, message.heard)
                self._session = session
            case Assign():
                self._held[message.attempt] = None
                session.send(Accept(message.attempt))
            case Bye():
                self._bye = message


async def main() -> None:
    """Live until the input ends."""
    url, key, first, last = sys.argv[1:]
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key))
    members = [Member(number, url, private) for number in range(int(first), int(last))]
    gc.freeze()
    async with asyncio.TaskGroup() as tasks:
        lives = [tasks.create_task(member.live(n / STARTS_PER_S)) for n, member in enumerate(members)]
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while await reader.readline():
            for member in members:
                if member.socket:
                    await member.socket.abort()
        for life in lives:
            life.cancel()


if __name__ == "__main__":
    asyncio.run(main())
