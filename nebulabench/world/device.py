"""A device: the real agent over simulated sockets, clock, disk and tools, through all its starts and crashes."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from device_agents.agent import Agent, Parts, SentAway
from device_agents.guard import Guard
from device_agents.identity import Identity, Membership
from device_agents.outbox import Outbox, OutboxFailed
from device_agents.reconnect import Reconnect
from device_agents.shelf import Shelf
from device_agents.tools.base import spec_of
from device_agents.work import Bench
from protocol.link import Socket
from protocol.vocabulary import Kind, Profile

from .disk import DeviceDisk
from .ground import GALAXY, Ground, ids
from .loop import Process
from .tools import Hands, tools

AGAIN_AFTER_S = 2.0  # whoever looks after the device starts an agent anew that has ended
NOWHERE = Path("/nowhere")  # nothing is read or written there


class NoShelf(Shelf):
    """No artifacts: what a call returns here fits into its report."""

    def __init__(self) -> None:
        self._renewed = asyncio.Event()
        self.token = ""

    async def close(self) -> None:
        """Nothing is open."""


class Device:
    """One device, from start to start of its agent."""

    def __init__(self, ground: Ground, name: str, slots: int, key: Ed25519PrivateKey) -> None:
        self.name = name
        self.slots = slots
        self.key = key
        self.disk = DeviceDisk.made(name, ground.history)
        self.process: Process | None = None
        self.hands = Hands(ground, name)
        self.wanted = False  # whoever looks after it wants an agent to run
        self._ground = ground
        self._agent: Agent | None = None
        self._chance = ground.chance(f"device {name}")
        self._starts = 0
        self._frozen_at = 0.0
        self._clock_at = self._chance.uniform(10.0, 1e6)  # what its clock shows when the world begins
        self._profile = Profile(Kind.SERVER, slots, tuple(spec_of(tool) for tool in tools(self.hands).values()))

    @property
    def runs(self) -> bool:
        return self.process is not None

    def start(self) -> None:
        """Start the agent, if none runs."""
        self.wanted = True
        if self.process is not None:
            return
        self._starts += 1
        name = f"{self.name}.{self._starts}"
        process = self.process = self._ground.loop.process(name)
        self._ground.history.tell(f"{name} starts")
        process.start(self._run(process))

    def stop(self) -> None:
        """Ask the agent to end in order; it comes back later."""
        if self._agent and self.process and not self.process.frozen:
            self.process.call(self._agent.stop)

    def rest(self, for_s: float) -> None:
        """Let the device sleep for so long."""
        agent, process = self._agent, self.process
        if agent and process and not process.frozen:
            process.call(lambda: agent.rest(for_s, "night"))

    def kill(self, *, power: bool = False) -> None:
        """End the agent at once; `power`: the whole machine."""
        self.wanted = False
        self.thaw()
        if self.process is None:
            return
        process, self.process, self._agent = self.process, None, None
        process.kill()
        self._ground.history.died[process.name] = self._ground.loop.time()
        self._ground.history.tell(f"{process.name} is killed")
        self._ground.network.process_ended(process, quietly=power)
        if power:
            self.disk.lose_power()

    def freeze(self) -> None:
        if self.process and not self.process.frozen:
            self._frozen_at = self._ground.loop.time()
            self.process.freeze()

    def thaw(self) -> None:
        if self.process and self.process.frozen:
            now = self._ground.loop.time()
            self._ground.history.asleep.setdefault(self.name, []).append((self._frozen_at, now))
            self.process.thaw()

    def reinstalled(self, name: str, key: Ed25519PrivateKey) -> "Device":
        """Lose everything; return the device that stands here now, under another name."""
        self.kill()
        return Device(self._ground, name, self.slots, key)

    def doubled(self) -> "Device":
        """Return another machine with a copy of this one's folder."""
        twin = Device(self._ground, self.name, self.slots, self.key)
        twin.disk.discard()
        twin.disk, twin._starts = self.disk.copied(), 100
        return twin

    def discard(self) -> None:
        """Let go of what is open."""
        self.disk.discard()

    async def _run(self, process: Process) -> None:
        try:
            agent = self._agent = Agent(self._parts(process))
            await agent.run()
            why = "ends"
        except SentAway as exc:
            why = f"is sent away: {exc}"
        except OutboxFailed as exc:
            why = f"cannot start: {exc}"
        if self.process is process:
            self._ground.history.tell(f"{process.name} {why}")
            self._ground.network.process_ended(process, quietly=False)
            self.process = self._agent = None
            self._ground.loop.call_later(AGAIN_AFTER_S, self._again, context=self._ground.network.context)

    def _again(self) -> None:
        if self.wanted:
            self.start()

    def _parts(self, process: Process) -> Parts:
        loop, starts = self._ground.loop, self._starts
        now: Callable[[], float] = lambda: self._clock_at + loop.time()  # noqa: E731
        chance = self._ground.chance(f"{self.name} {starts}")

        async def dial(_: str) -> Socket:
            return await self._ground.network.dial(self.name, process)

        shelf = NoShelf()
        return Parts(
            identity=Identity(NOWHERE, Membership(self.name, GALAXY, "http://galaxy"), self.key),
            profile=self._profile,
            bench=Bench(tools(self.hands), Guard.default(NOWHERE), NOWHERE, shelf, loop.time),
            shelf=shelf,
            outbox=Outbox(NOWHERE, now=now(), opened=self.disk.opened, new_id=partial(ids, chance)),
            reconnect=Reconnect(chance),
            now=now,
            dial=dial,
            new_id=partial(ids, chance),
            chance=chance,
            leave=partial(self._leave, process),
        )

    def _leave(self, process: Process, code: int) -> None:
        """End as `os._exit` does."""
        if self.process is process:
            self.kill()
            self._ground.history.tell(f"{process.name} leaves with {code}")
            self.wanted = True
            self._ground.loop.call_later(AGAIN_AFTER_S, self._again, context=self._ground.network.context)
