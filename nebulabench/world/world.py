"""One world, from a plan to its history: first all that goes wrong, then a calm in which everything must end."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from galaxy.core.errors import Refused
from galaxy.core.events import DeviceJoined, JoinTokenMinted
from galaxy.planner.contract import Planner
from galaxy.runner import Runner

from .client import Client
from .device import Device
from .disk import SimStore
from .faults import strike
from .ground import Ground, public
from .history import History
from .inspector import Inspector
from .loop import Process, SimLoop
from .network import Network, Wire
from .node import SimNode
from .plan import Plan
from .planner import ADVERSARY, Adversary
from .workload import Deed, Submission

LIVENESS_S = 1_800.0  # within which everything ends once nothing goes wrong any more
AFTER_S = 5.0  # what is still under way may come in
TOKEN_S = 1e9


class World:
    """The parts, and the time in which they live."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = SimLoop(self._failed)  # type: ignore[abstract]  # what it lacks, nobody here asks for
        self.history = History(self.loop.time)
        random = Random(f"{plan.seed}/{plan.profile}/world")
        self.network = Network(self.loop, self.history, random)
        self.ground = Ground(plan.seed, self.loop, self.network, self.history, random)
        self.store = SimStore(self.history, Random(random.random()))
        self.node = SimNode(self.ground, self.store, self._planners, plan.heartbeat_s)
        self.devices: dict[str, Device] = {}  # by the name under which the plan knows them
        self.all_devices: list[Device] = []  # also twins, and those that are no more
        self.client = Client(self)
        self.calm = False
        self.wall_s = 0.0
        self._undo: dict[int, Callable[[], None]] = {}
        self._undone = 0

    def run(self) -> History:
        """Live through it all, and return what was."""
        began = perf_counter()
        with _quiet():
            try:
                self._live()
            finally:
                self.history.over = True
                self.loop.close()
                for device in self.all_devices:
                    device.discard()
        self.wall_s = perf_counter() - began
        return self.history

    # what faults do

    def wires(self, device: str) -> list[Wire]:
        """Return the device's open connections."""
        return [wire for wire in self.network.route(device).wires if not wire.is_over]

    def later(self, after_s: float, do: Callable[[], None]) -> None:
        """Do it then, or when all is healed."""
        self._undone += 1
        number = self._undone
        self._undo[number] = do

        def now() -> None:
            if undo := self._undo.pop(number, None):
                undo()

        self.loop.call_later(after_s, now, context=self.network.context)

    def double(self, name: str) -> Device:
        """Return another machine with a copy of the device's folder."""
        twin = self.devices[name].doubled()
        self.all_devices.append(twin)
        return twin

    def reinstall(self, name: str) -> None:
        """Let the device lose everything, and join anew under another name."""
        old = self.devices[name]
        number = sum(one.name.startswith(f"{name}-") for one in self.all_devices) + 1
        fresh = old.reinstalled(f"{name}-{number}", self._key(f"{name}-{number}"))
        self.history.tell(f"{old.name} is installed anew as {fresh.name}")
        self.devices[name] = fresh
        self.all_devices.append(fresh)
        self._task(self._join(fresh))

    def device_names(self) -> list[str]:
        return [device.name for device in self.devices.values()]

    # its course

    def _live(self) -> None:
        plan, inspector = self.plan, Inspector(self)
        self.node.start()
        for one in plan.devices:
            device = Device(self.ground, one.name, one.slots, self._key(one.name))
            self.devices[one.name] = device
            self.all_devices.append(device)
            self._task(self._join(device))
        for asked in plan.submissions:
            self._at(asked.at, partial(self._submit, asked))
        for n, deed in enumerate(plan.deeds):
            self._at(deed.at, partial(self._do, deed, f"deed-{n}"))
        for fault in plan.faults:
            self._at(fault.at, partial(strike, self, fault))
        self._task(self.client.go_on())
        self._task(inspector.look_around())
        self.loop.run_until(lambda: False, plan.calm_at)
        self._heal()
        ended = self.loop.run_until(self._all_over, plan.calm_at + LIVENESS_S)
        if ended:
            self.loop.run_until(lambda: False, self.loop.time() + AFTER_S)
        else:
            inspector.say_what_waits(self._open())

    def _submit(self, asked: Submission) -> None:
        self._task(self.client.submit(asked))

    def _do(self, deed: Deed, mark: str) -> None:
        self._task(self.client.do(deed, mark))

    def _heal(self) -> None:
        self.calm = True
        self.history.tell("all is healed")
        self._undone += 1
        for undo in list(self._undo.values()):
            undo()
        self._undo.clear()
        self.network.heal()
        self.store.slow_s, self.store.fails, self.store.crash = 0.0, 0, None
        for device in self.all_devices:
            device.disk.full = False
            device.hands.slowness = 1.0
        self.node.thaw()
        self.node.start()
        for device in self.devices.values():
            device.thaw()
            device.start()

    def _open(self) -> list[str]:
        """Return the constellations that have not ended."""
        ended = {row.stream for _, row in self.history.commits if row.kind == "constellation_ended"}
        return [one.constellation for one in self.plan.submissions if one.constellation not in ended]

    def _all_over(self) -> bool:
        return self.history.ended >= len(self.plan.submissions)

    async def _join(self, device: Device) -> None:
        """Make the device known, then start its agent."""
        known = False
        while not known:
            runner, process = self.node.runner, self.node.process
            if runner and process:
                known = await self._made_known(device, runner, process)
            else:
                await asyncio.sleep(0.5)
        device.start()

    async def _made_known(self, device: Device, runner: Runner, process: Process) -> bool:
        joined: asyncio.Future[bool] = self.loop.create_future()

        async def join() -> None:
            at = self.node.now()
            try:
                await runner.tell(JoinTokenMinted(at=at, digest=device.name, expires_at=at + TOKEN_S))
                key = public(device.key)
                await runner.tell(DeviceJoined(at=at, device=device.name, public_key=key, token_digest=device.name))
            except Refused:
                await runner.durable()  # it had joined, and nobody had been told
            if not joined.done():
                joined.set_result(True)

        process.start(join())
        try:
            async with asyncio.timeout(5.0):
                return await joined
        except TimeoutError:
            return False

    def _key(self, name: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.ground.chance(f"key {name}").randbytes(32))

    def _planners(self) -> dict[str, Planner]:
        names = [one.name for one in self.plan.devices]
        chance = self.ground.chance(f"planner {self.loop.time()}")
        return {ADVERSARY: Adversary(chance, names, lambda: self.calm)}

    def _at(self, at: float, do: Callable[[], object]) -> None:
        self.loop.call_at(at, do, context=self.network.context)

    def _task(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.create_task(work, context=self.network.context.copy())

    def _failed(self, text: str) -> None:
        self.history.fail(text)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let nobody log: what the parts say is not read, and takes half the time."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
