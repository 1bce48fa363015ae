"""The node: the real runner, gateway and consultations over a simulated store, through all its starts and crashes."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from galaxy.core.events import NodeStarted
from galaxy.gateway import Gateway
from galaxy.journal import recovered
from galaxy.metrics import Metrics
from galaxy.planner.consult import Consultations
from galaxy.planner.contract import Planner
from galaxy.runner import Runner

from .disk import SimStore
from .ground import GALAXY, STARTED_AT, Ground, ids
from .loop import Process
from .network import Wire

METRICS = Metrics()  # nobody reads them, and making them takes long


class SimNode:
    """One node, from start to start of its process."""

    def __init__(
        self, ground: Ground, store: SimStore, planners: Callable[[], Mapping[str, Planner]], heartbeat_s: float
    ) -> None:
        self.store = store
        self.process: Process | None = None
        self.runner: Runner | None = None  # while it serves
        self.now: Callable[[], float] = lambda: STARTED_AT
        self.skew_s = 0.0  # by which its wall clock is wrong at the next start
        self._ground = ground
        self._planners = planners
        self._heartbeat_s = heartbeat_s
        self._gateway: Gateway | None = None
        self._starts = 0
        store.on_crash = self.kill

    def start(self) -> None:
        """Start it, if it does not run."""
        if self.process is not None:
            return
        self._starts += 1
        process = self.process = self._ground.loop.process(f"node.{self._starts}")
        self._ground.history.tell(f"{process.name} starts")
        serving = process.start(self._serve())
        serving.add_done_callback(partial(self._ended, process), context=self._ground.network.context)

    def kill(self) -> None:
        """End it at once."""
        if self.process is None:
            return
        process = self.process
        self._gone()
        process.kill()
        self._ground.history.tell(f"{process.name} is killed")
        self._ground.network.process_ended(process, quietly=False)

    def freeze(self) -> None:
        if self.process:
            self.process.freeze()

    def thaw(self) -> None:
        if self.process and self.process.frozen:
            self.process.thaw()

    async def _serve(self) -> None:
        store, loop = self.store, self._ground.loop
        recorded = await recovered(store)
        core = recorded.core
        ahead_s = max(STARTED_AT + loop.time() + self.skew_s, recorded.last_at) - loop.time()
        now = self.now = lambda: ahead_s + loop.time()
        core.restore(core.fleet, list(core.constellations.values()), now())
        runner = Runner(core, store, now, METRICS, recorded.seqs, recorded.snapshots_at)
        chance = self._ground.chance(f"node {self._starts}")
        self._gateway = Gateway(
            runner, GALAXY, now, METRICS, chance=chance, heartbeat_s=self._heartbeat_s, new_id=partial(ids, chance)
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runner.run(), name="runner")
            tasks.create_task(self._gateway.pulse.run(), name="pulse")
            tasks.create_task(Consultations(runner, self._planners(), now).run(), name="planners")
            await runner.tell(NodeStarted(at=now()))
            self.runner = runner
            self._ground.network.listener = self._accept

    def _accept(self, wire: Wire) -> None:
        process, gateway = self.process, self._gateway
        assert process
        assert gateway
        wire.node_end.owner = process
        process.start(self._hold(wire, gateway))

    async def _hold(self, wire: Wire, gateway: Gateway) -> None:
        if not wire.accepted.done():
            wire.accepted.set_result(None)
            await gateway.serve(wire.node_end)

    def _gone(self) -> None:
        self.process = self.runner = self._gateway = self._ground.network.listener = None

    def _ended(self, process: Process, serving: asyncio.Task[None]) -> None:
        if self.process is process and not self._ground.history.over:
            self._ground.history.fail(f"{process.name} fell over: {_told(serving.exception())}")
            self._gone()


def _told(exc: BaseException | None) -> str:
    """Return what happened, down through groups."""
    while isinstance(exc, BaseExceptionGroup):
        exc = exc.exceptions[0]
    if exc is None:
        return "it returned"
    trace, where = exc.__traceback__, ""
    while trace:
        code = trace.tb_frame.f_code
        where, trace = f"{code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}", trace.tb_next
    return f"{type(exc).__name__}: {exc} ({where})"
