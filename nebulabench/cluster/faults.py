"""What goes wrong: how it strikes, when it has had its effect, and how it is over.

A fault of a link or an agent concerns one device. A fault of the node concerns all, so that runs on several devices,
each at a moment of its own, share one.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from .processes import Cluster, Device, NotInTime, freeze, pid_of, restarted, thaw, until
from .proxy import DOWN, UP, Way

WITHIN_S = 30.0
NOTICED_WITHIN_S = 5.0
LATENCY_S = 0.15
RATE = 128_000.0  # bytes a second
REFUSALS = 2
SKEW_S = 3600.0


@dataclass(slots=True)
class Struck:
    """A cluster, and those of its devices whose runs stand at their moments."""

    cluster: Cluster
    devices: list[Device]
    sessions: dict[str, int] = field(default_factory=dict)  # that each device had opened before
    over_at: float = field(default_factory=time.monotonic)  # from when on nothing is in the way of recovery any more

    def __post_init__(self) -> None:
        self.sessions = {device.name: device.proxy.sessions for device in self.devices}

    def is_over(self) -> None:
        """Say that the fault ends here; where nobody does, it ended as it began, or it lasts."""
        self.over_at = time.monotonic()

    async def gone(self) -> None:
        """Return when the node misses all of them."""
        for device in self.devices:
            name = device.name
            await until(partial(self.cluster.is_gone, name), f"{name} is missed", WITHIN_S)

    async def dialled(self) -> None:
        """Return when all of them have dialled anew."""
        for device in self.devices:
            await until(partial(self._has_dialled, device), f"{device.name} has dialled", WITHIN_S)

    async def connected(self) -> None:
        """Return when the node sees all of them, on sockets that were opened since."""
        await self.dialled()
        for device in self.devices:
            name = device.name
            await until(partial(self.cluster.is_connected, name), f"{name} is connected", WITHIN_S)

    def _has_dialled(self, device: Device) -> bool:
        return device.proxy.sessions > self.sessions[device.name]


Act = Callable[[Struck], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    `strikes` returns when it has begun; then the run is let on; `passes` returns when the fault has had its effect and
    is over. One that `lasts` goes on until the run has ended.
    """

    name: str
    says: str
    strikes: Act
    passes: Act
    of_node: bool = False
    ends_calls: bool = False  # what runs on the device is cut off, and nobody can know whether it happened
    lasts: bool = False
    refuses_work: bool = False  # for a while; attempts are given back unbegun
    restart_agent: bool = False  # what it leaves behind, a new start of the agent heals
    restart_node: bool = False


# links


async def _nothing(_: Struck) -> None:
    pass


async def _slow(struck: Struck) -> None:
    for device in struck.devices:
        device.proxy.latency_s = LATENCY_S
        device.proxy.release()


async def _narrow(struck: Struck) -> None:
    for device in struck.devices:
        device.proxy.rate = RATE
        device.proxy.release()


def _swallow(*ways: Way) -> Act:
    async def strikes(struck: Struck) -> None:
        for device in struck.devices:
            device.proxy.swallow(*ways)

    return strikes


async def _reset(struck: Struck) -> None:
    for device in struck.devices:
        device.proxy.reset()


async def _cut(struck: Struck) -> None:
    for device in struck.devices:
        device.proxy.cut_mid_frame()


async def _was_cut(struck: Struck) -> None:
    """It may have been an upload's connection; then the session goes on."""
    for device in struck.devices:
        await until(partial(_is_cut, device), f"{device.name} is cut off", WITHIN_S)
        await until(partial(struck.cluster.is_connected, device.name), f"{device.name} is connected", WITHIN_S)


def _is_cut(device: Device) -> bool:
    return not device.proxy.cutting


async def _refuse(struck: Struck) -> None:
    for device in struck.devices:
        device.proxy.refused, device.proxy.refuse = 0, True
        device.proxy.reset()


async def _refused(struck: Struck) -> None:
    for device in struck.devices:
        await until(partial(_was_refused, device), f"{device.name} is refused", WITHIN_S)
        device.proxy.refuse = False
    struck.is_over()


def _was_refused(device: Device) -> bool:
    return device.proxy.refused >= REFUSALS


# agents


async def _kill_agent(struck: Struck) -> None:
    for device in struck.devices:
        device.program.kill()
        device.proxy.drop()


async def _start_agent(struck: Struck) -> None:
    await struck.gone()
    struck.is_over()
    for device in struck.devices:
        device.program.start()


async def _freeze_agent(struck: Struck) -> None:
    for device in struck.devices:
        freeze(device.program)


async def _thaw_agent(struck: Struck) -> None:
    await struck.gone()
    struck.is_over()
    for device in struck.devices:
        device.proxy.release()
        thaw(device.program)


async def _fill_agent(struck: Struck) -> None:
    for device in struck.devices:
        device.disk.fill(pid_of(device.program))
        device.proxy.release()


async def _free_agent(struck: Struck) -> None:
    for device in struck.devices:
        with suppress(NotInTime):  # it has not come to writing anything
            await until(partial(struck.cluster.has_withdrawn, device.name), "it takes no work", NOTICED_WITHIN_S)
    struck.is_over()
    for device in struck.devices:
        device.disk.free(pid_of(device.program))


async def _skew_agent(struck: Struck) -> None:
    for device in struck.devices:
        restarted(device.program, skew_s=SKEW_S)
        device.proxy.drop()


# the node


async def _kill_node(struck: Struck) -> None:
    struck.cluster.node.kill()
    for device in struck.devices:
        device.proxy.drop()


async def _start_node(struck: Struck) -> None:
    struck.is_over()
    await struck.cluster.start_node()


async def _freeze_node(struck: Struck) -> None:
    freeze(struck.cluster.node)


async def _thaw_node(struck: Struck) -> None:
    await struck.dialled()  # they have waited in vain, and try another socket
    struck.is_over()
    for device in struck.devices:
        device.proxy.release()
    thaw(struck.cluster.node)


async def _fill_node(struck: Struck) -> None:
    struck.cluster.disk.fill(pid_of(struck.cluster.node))
    for device in struck.devices:
        device.proxy.release()


async def _free_node(struck: Struck) -> None:
    cluster = struck.cluster

    async def is_in_trouble() -> bool:
        return not await cluster.is_ready()

    await until(is_in_trouble, "the node finds its disk full", WITHIN_S)
    struck.is_over()
    cluster.disk.free(pid_of(cluster.node))
    await cluster.node_ready()


async def _skew_node(struck: Struck) -> None:
    restarted(struck.cluster.node, skew_s=-SKEW_S)
    for device in struck.devices:
        device.proxy.drop()
    await struck.cluster.node_ready()


FAULTS = (
    Fault("latency", f"{LATENCY_S:g} s more each way", _slow, _nothing, lasts=True),
    Fault("rate", f"{RATE / 1000:g} kB a second each way", _narrow, _nothing, lasts=True),
    Fault("half-open", "what is open stays open, and nothing crosses it", _swallow(UP, DOWN), Struck.connected),
    Fault("mute", "nothing of the device arrives", _swallow(UP), Struck.connected),
    Fault("deaf", "nothing arrives at the device", _swallow(DOWN), Struck.connected),
    Fault("reset", "every connection is reset at both ends", _reset, Struck.connected),
    Fault("refuse", "reset, and whoever dials is refused twice", _refuse, _refused),
    Fault("cut-mid-frame", "half of a frame arrives, or of an upload, then the end", _cut, _was_cut),
    Fault("agent-kill", "SIGKILL, and a new start once it is missed", _kill_agent, _start_agent, ends_calls=True),
    Fault("agent-freeze", "SIGSTOP until it is missed, then SIGCONT", _freeze_agent, _thaw_agent),
    Fault(
        "agent-disk-full",
        "its folder is full until the node knows that it takes no work",
        _fill_agent,
        _free_agent,
        refuses_work=True,
        restart_agent=True,
    ),
    Fault(
        "agent-skew",
        "SIGKILL, and a start with a clock an hour ahead",
        _skew_agent,
        Struck.connected,
        ends_calls=True,
        restart_agent=True,
    ),
    Fault("node-kill", "SIGKILL, and a new start", _kill_node, _start_node, of_node=True),
    Fault("node-freeze", "SIGSTOP until devices dial anew, then SIGCONT", _freeze_node, _thaw_node, of_node=True),
    Fault("node-disk-full", "its folder is full until it says so", _fill_node, _free_node, of_node=True),
    Fault(
        "node-skew",
        "SIGKILL, and a start with a clock an hour behind",
        _skew_node,
        Struck.connected,
        of_node=True,
        restart_node=True,
    ),
)
