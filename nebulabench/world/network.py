"""The network between the devices and the node: it delays, cuts, swallows, holds back, and never reorders.

A `Wire` is one connection, with an end on each side; a `Route` is how things stand between one device and the node,
whatever wires run over it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from random import Random

from protocol.link import DIAL_WITHIN_S, SocketClosed

from .history import History
from .loop import OWNER, Process, SimLoop

BUFFER_BYTES = 256 << 10  # that a sender may have under way before it has to wait
Frame = bytes | str


class Pipe:
    """One direction of a wire."""

    def __init__(self, network: "Network", route: "Route", *, up: bool) -> None:
        self.to: End
        self.bytes_left: int | None = None  # until the wire breaks
        self.swallows = False  # the other side will not hear of it, and this side does not know
        self._network = network
        self._route = route
        self._up = up
        self._frames: deque[tuple[float, Frame | None]] = deque()  # None: the end
        self._bytes = 0
        self._last = 0.0
        self._room: asyncio.Future[None] | None = None

    async def send(self, frame: Frame) -> None:
        self._put(frame)
        while self._bytes > BUFFER_BYTES:
            self._room = self._network.loop.create_future()
            await self._room

    def end(self) -> None:
        """Let the other side know that there is no more."""
        self._put(None)

    def pump(self) -> None:
        """Deliver what has arrived, unless the route holds it back."""
        now = self._network.loop.time()
        while self._frames and self._frames[0][0] <= now and not self._route.is_blocked(up=self._up):
            frame = self._frames.popleft()[1]
            self._bytes -= len(frame) if frame else 0
            self.to.hear(frame)
        if self._room and not self._room.done() and self._bytes <= BUFFER_BYTES:
            self._room.set_result(None)

    def lose(self) -> None:
        """Lose what is under way."""
        self._frames.clear()
        self._bytes = 0

    def _put(self, frame: Frame | None) -> None:
        if frame is not None:
            self._bytes += len(frame)
            if self.bytes_left is not None:
                self.bytes_left -= len(frame)
                if self.bytes_left < 0:
                    self._network.cut(self.to.wire)
                    return
        if self.swallows:
            return
        self._last = max(self._last, self._network.loop.time() + self._route.latency_s())
        self._frames.append((self._last, frame))
        self._network.loop.call_at(self._last, self.pump, context=self._network.context)


class End:
    """One end of a wire: the socket of a link."""

    def __init__(self, wire: "Wire", out: Pipe, owner: Process | None) -> None:
        self.wire = wire
        self.out = out
        self.owner = owner
        self.why = ""  # it is over
        self._heard: deque[Frame] = deque()
        self._reader: asyncio.Future[None] | None = None

    async def recv(self) -> Frame:
        while True:
            if self._heard:
                return self._heard.popleft()
            if self.why:
                raise SocketClosed(self.why)
            self._reader = self.wire.network.loop.create_future()
            await self._reader

    async def send(self, frame: bytes) -> None:
        if self.why:
            raise SocketClosed(self.why)
        await self.out.send(frame)

    async def close(self, code: int) -> None:
        if not self.why:
            self.out.end()
            self.finish(f"closed with {code}")

    async def abort(self) -> None:
        if not self.why:
            self.out.lose()
            self.out.end()
            self.finish("aborted")

    def finish(self, why: str) -> None:
        """Let this end know that it is over."""
        self.why = self.why or why
        self._wake()

    def hear(self, frame: Frame | None) -> None:
        if frame is None:
            self.finish("the other side has closed")
            return
        if not self.why:
            self._heard.append(frame)
            self.wire.network.heard(self)
            self._wake()

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)


class Wire:
    """One connection of a device with the node."""

    def __init__(self, network: "Network", route: "Route", device: Process | None) -> None:
        self.network = network
        self.route = route
        self.up, self.down = Pipe(network, route, up=True), Pipe(network, route, up=False)
        self.device_end = End(self, self.up, device)
        self.node_end = End(self, self.down, None)
        self.up.to, self.down.to = self.node_end, self.device_end
        self.accepted: asyncio.Future[None] = network.loop.create_future()

    @property
    def is_over(self) -> bool:
        return bool(self.device_end.why and self.node_end.why)


class Route:
    """How things stand between one device and the node."""

    def __init__(self, device: str, random: Random, base_s: float) -> None:
        self.device = device
        self.base_s = base_s
        self.spread_s = base_s
        self.up = 0  # how many faults hold this direction back
        self.down = 0
        self.wires: list[Wire] = []
        self.waiting: list[asyncio.Future[None]] = []  # those who dial
        self._random = random

    def latency_s(self) -> float:
        return self.base_s + self.spread_s * self._random.random()

    def is_blocked(self, *, up: bool) -> bool:
        return (self.up if up else self.down) > 0

    def block(self, *, up: bool = False, down: bool = False) -> None:
        """Hold everything back in these directions."""
        self.up += up
        self.down += down

    def release(self, *, up: bool = False, down: bool = False) -> None:
        """Let go what was held back."""
        self.up = max(0, self.up - up)
        self.down = max(0, self.down - down)
        for wire in self.wires:
            wire.up.pump()
            wire.down.pump()
        if not self.up and not self.down:
            waiting, self.waiting = self.waiting, []
            for one in waiting:
                if not one.done():
                    one.set_result(None)


class Network:
    """All routes and wires."""

    def __init__(self, loop: SimLoop, history: History, random: Random) -> None:
        self.loop = loop
        self.context: Context = copy_context()  # nobody's: what is under way survives who sent it
        self.context.run(OWNER.set, None)
        self.listener: Callable[[Wire], None] | None = None
        self._routes: dict[str, Route] = {}
        self._history = history
        self._random = random

    def route(self, device: str) -> Route:
        """Return the device's way to the node."""
        if device not in self._routes:
            base_s = self._random.choice((0.0005, 0.002, 0.01, 0.05))
            self._routes[device] = Route(device, Random(self._random.random()), base_s)
        return self._routes[device]

    async def dial(self, device: str, process: Process) -> End:
        """Return the device's end of a new wire; raise OSError or TimeoutError."""
        route = self.route(device)
        async with asyncio.timeout(DIAL_WITHIN_S):
            while route.up or route.down:
                free: asyncio.Future[None] = self.loop.create_future()
                route.waiting.append(free)
                await free
            await asyncio.sleep(route.latency_s() + route.latency_s())
            if self.listener is None:
                raise ConnectionRefusedError("nobody listens")
            wire = Wire(self, route, process)
            route.wires = [one for one in route.wires if not one.is_over]
            route.wires.append(wire)
            self.listener(wire)
            try:
                await wire.accepted
            except BaseException:
                self.cut(wire)
                raise
            return wire.device_end

    def cut(self, wire: Wire, *, tell_device: bool = True, tell_node: bool = True) -> None:
        """Break the wire; an end that is not told goes on as if nothing had happened."""
        for end, pipe, tell in ((wire.device_end, wire.down, tell_device), (wire.node_end, wire.up, tell_node)):
            pipe.lose()
            pipe.swallows = True
            if tell:
                self.loop.call_soon(end.finish, "connection reset", context=self.context)
        wire.up.swallows = wire.down.swallows = True

    def process_ended(self, process: Process, *, quietly: bool) -> None:
        """Close what a dead process had open, as its system does; `quietly`: as a machine that lost its power."""
        for route in self._routes.values():
            for wire in route.wires:
                for end in (wire.device_end, wire.node_end):
                    if end.owner is process and not end.why:
                        end.finish("its process is gone")
                        if quietly:
                            wire.up.swallows = wire.down.swallows = True
                        else:
                            end.out.end()

    def heard(self, end: End) -> None:
        """Note that a frame has reached a device."""
        if end is end.wire.device_end:
            self._history.heard.setdefault(end.wire.route.device, []).append(self.loop.time())

    def heal(self) -> None:
        """Let everything through."""
        for route in self._routes.values():
            route.release(up=True, down=True)
            while route.up or route.down:
                route.release(up=True, down=True)
