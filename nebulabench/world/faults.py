"""What goes wrong, planned up front: when, what, to whom and for how long. And how it is done to a world."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from .disk import Crash

if TYPE_CHECKING:
    from .device import Device
    from .world import World

NODE = "node"


@dataclass(frozen=True, slots=True)
class Fault:
    """One. `size` is drawn from 0 to 1 and means to each kind what it likes."""

    at: float
    kind: str
    target: str
    for_s: float
    size: float

    def __str__(self) -> str:
        return f"{self.kind} {self.target} for {self.for_s:.2f} s"


Doer = Callable[["World", Fault], Callable[[], None] | None]  # returns how it ends

NETWORK = (
    "cut",
    "cut_mid_frame",
    "half_open",
    "deaf_node",
    "deaf_device",
    "clog",
    "one_way_up",
    "one_way_down",
    "slow",
)
DEVICE = (
    *("kill", "kill_at_effect", "power_cut", "freeze", "stop", "sleep", "slow_tools", "disk_full"),
    *("reinstall", "twin"),
)
OF_NODE = ("node_kill", "node_crash_before", "node_crash_after", "node_freeze", "slow_disk", "disk_fails", "clock_set")
MILD = {"cut": 3, "clog": 3, "slow": 3, "slow_tools": 3, "kill": 1, "node_kill": 1, "stop": 1}
ODDS = {  # of each kind, in each profile
    "mild": MILD,
    "harsh": {**dict.fromkeys((*NETWORK, *DEVICE, *OF_NODE), 2), "reinstall": 1, "twin": 1},
    "swizzle": {"swizzle": 6, "half_open": 2, "cut": 2, "kill": 1, "node_kill": 1},
    "planner": {**dict.fromkeys((*NETWORK, "kill", "freeze", *OF_NODE), 1)},
}
NUMBER = {"mild": (1, 5), "harsh": (4, 16), "swizzle": (3, 10), "planner": (2, 8)}
PROFILES = tuple(ODDS)


def faults(random: Random, profile: str, devices: list[str], until: float) -> list[Fault]:
    """Return what goes wrong until then, in order."""
    odds = ODDS[profile]
    kinds = random.choices(list(odds), list(odds.values()), k=random.randint(*NUMBER[profile]))
    return sorted((_fault(random, kind, devices, until) for kind in kinds), key=lambda fault: fault.at)


def _fault(random: Random, kind: str, devices: list[str], until: float) -> Fault:
    everybody = kind in OF_NODE or kind == "swizzle"
    target = NODE if everybody else random.choice(devices)
    for_s = random.choice((0.5, 3.0, 10.0, 25.0, 60.0)) * random.uniform(0.5, 1.5)
    return Fault(round(random.uniform(1.0, until), 6), kind, target, round(for_s, 6), random.random())


def strike(world: "World", fault: Fault) -> None:
    """Let it happen, and end after its time, or when all is healed."""
    world.history.tell(f"fault: {fault}")
    end = KINDS[fault.kind](world, fault)
    if end:
        world.later(fault.for_s, end)


# the network


def _cut(world: "World", fault: Fault) -> None:
    for wire in world.wires(fault.target):
        world.network.cut(wire)


def _cut_mid_frame(world: "World", fault: Fault) -> None:
    for wire in world.wires(fault.target):
        (wire.up if fault.size < 0.5 else wire.down).bytes_left = int(fault.size * 4_000)


def _half_open(world: "World", fault: Fault) -> None:
    for wire in world.wires(fault.target):
        world.network.cut(wire, tell_device=False, tell_node=False)


def _deaf_node(world: "World", fault: Fault) -> None:
    """The device knows that the wire is cut, and dials anew while the node has the old one."""
    for wire in world.wires(fault.target):
        world.network.cut(wire, tell_node=False)


def _deaf_device(world: "World", fault: Fault) -> None:
    for wire in world.wires(fault.target):
        world.network.cut(wire, tell_device=False)


def _blocked(world: "World", fault: Fault, *, up: bool, down: bool) -> Callable[[], None]:
    route = world.network.route(fault.target)
    route.block(up=up, down=down)
    return lambda: route.release(up=up, down=down)


def _clog(world: "World", fault: Fault) -> Callable[[], None]:
    return _blocked(world, fault, up=True, down=True)


def _one_way_up(world: "World", fault: Fault) -> Callable[[], None]:
    return _blocked(world, fault, up=True, down=False)


def _one_way_down(world: "World", fault: Fault) -> Callable[[], None]:
    return _blocked(world, fault, up=False, down=True)


def _slow(world: "World", fault: Fault) -> Callable[[], None]:
    route = world.network.route(fault.target)
    more_s = 0.1 + 4.0 * fault.size
    route.spread_s += more_s

    def end() -> None:
        route.spread_s = max(0.0, route.spread_s - more_s)

    return end


def _swizzle(world: "World", fault: Fault) -> None:
    """Clog random links one by one, and release them in another order."""
    random = Random(fault.size)
    names = random.sample(list(world.devices), max(1, len(world.devices) // 2))
    again = random.sample(names, len(names))
    step_s = fault.for_s / len(names)
    for n, name in enumerate(names):
        route = world.network.route(name)
        world.later(n * step_s, partial(route.block, up=True, down=True))
        world.later(fault.for_s + again.index(name) * step_s, partial(route.release, up=True, down=True))


# the devices


def _of(world: "World", fault: Fault) -> "Device":
    return world.devices[fault.target]


def _kill(world: "World", fault: Fault) -> Callable[[], None]:
    device = _of(world, fault)
    device.kill()
    return device.start


def _kill_at_effect(world: "World", fault: Fault) -> Callable[[], None]:
    """Kill the agent right after the next effect that may happen once only."""
    device = _of(world, fault)
    device.hands.after_effect = device.kill

    def end() -> None:
        device.hands.after_effect = None
        device.start()

    return end


def _power_cut(world: "World", fault: Fault) -> Callable[[], None]:
    device = _of(world, fault)
    device.kill(power=True)
    return device.start


def _freeze(world: "World", fault: Fault) -> Callable[[], None]:
    device = _of(world, fault)
    device.freeze()
    return device.thaw


def _stop(world: "World", fault: Fault) -> None:
    _of(world, fault).stop()


def _sleep(world: "World", fault: Fault) -> None:
    _of(world, fault).rest(fault.for_s)


def _slow_tools(world: "World", fault: Fault) -> Callable[[], None]:
    hands = _of(world, fault).hands
    hands.slowness = 1.0 + 20.0 * fault.size

    def end() -> None:
        hands.slowness = 1.0

    return end


def _disk_full(world: "World", fault: Fault) -> Callable[[], None]:
    disk = _of(world, fault).disk
    disk.full = True

    def end() -> None:
        disk.full = False

    return end


def _reinstall(world: "World", fault: Fault) -> None:
    world.reinstall(fault.target)


def _twin(world: "World", fault: Fault) -> Callable[[], None]:
    """A copy of the device's folder runs beside it for a while."""
    twin = world.double(fault.target)
    twin.start()
    return twin.kill


# the node


def _node_kill(world: "World", fault: Fault) -> Callable[[], None]:
    world.node.kill()
    return world.node.start


def _node_crash_before(world: "World", fault: Fault) -> Callable[[], None]:
    world.store.crash = Crash.BEFORE
    return world.node.start


def _node_crash_after(world: "World", fault: Fault) -> Callable[[], None]:
    world.store.crash = Crash.AFTER
    return world.node.start


def _node_freeze(world: "World", fault: Fault) -> Callable[[], None]:
    world.node.freeze()
    return world.node.thaw


def _slow_disk(world: "World", fault: Fault) -> Callable[[], None]:
    world.store.slow_s += 3.0 * fault.size

    def end() -> None:
        world.store.slow_s = 0.0

    return end


def _disk_fails(world: "World", fault: Fault) -> Callable[[], None]:
    world.store.fails += 1

    def end() -> None:
        world.store.fails = max(0, world.store.fails - 1)

    return end


def _clock_set(world: "World", fault: Fault) -> Callable[[], None]:
    """The node's machine is started anew, and its clock shows another time by up to ten minutes."""
    world.node.kill()
    world.node.skew_s = 1_200.0 * (fault.size - 0.5)
    return world.node.start


KINDS: dict[str, Doer] = {
    "cut": _cut,
    "cut_mid_frame": _cut_mid_frame,
    "half_open": _half_open,
    "deaf_node": _deaf_node,
    "deaf_device": _deaf_device,
    "clog": _clog,
    "one_way_up": _one_way_up,
    "one_way_down": _one_way_down,
    "slow": _slow,
    "swizzle": _swizzle,
    "kill": _kill,
    "kill_at_effect": _kill_at_effect,
    "power_cut": _power_cut,
    "freeze": _freeze,
    "stop": _stop,
    "sleep": _sleep,
    "slow_tools": _slow_tools,
    "disk_full": _disk_full,
    "reinstall": _reinstall,
    "twin": _twin,
    "node_kill": _node_kill,
    "node_crash_before": _node_crash_before,
    "node_crash_after": _node_crash_after,
    "node_freeze": _node_freeze,
    "slow_disk": _slow_disk,
    "disk_fails": _disk_fails,
    "clock_set": _clock_set,
}
