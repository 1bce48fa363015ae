"""The signs of life of all connected devices: who is suspected, and how often they are asked for.

One timer serves them all. What it finds are events like any other: the core gives a suspected device no new work until
it has spoken.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from math import inf

from .core.events import DeviceSuspected
from .core.orders import Dispatch
from .metrics import Metrics
from .runner import Runner
from .suspicion import Watch, Watched, heartbeat_for

LOOK_EVERY_S = 0.05  # at most
RENEWALS = 3  # of a lease within its time


class Pulse:
    """The connected devices of one node."""

    def __init__(self, runner: Runner, now: Callable[[], float], metrics: Metrics, heartbeat_least_s: float) -> None:
        self.heartbeat_s = heartbeat_least_s  # that devices are told, but for those with shorter leases
        self._heartbeat_least_s = heartbeat_least_s
        self._runner = runner
        self._now = now
        self._metrics = metrics
        self._watch = Watch()
        self._looks_at = inf
        self._sooner = asyncio.Event()

    @property
    def devices(self) -> int:
        """How many are connected."""
        return len(self._watch)

    async def run(self) -> None:
        """Tell the runner of each device that is silent for unlikely long, for ever."""
        while True:
            await self.look()
            due, now = self._watch.next(), self._now()
            self._looks_at = inf if due is None else max(due, now + LOOK_EVERY_S)
            self._sooner.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else self._looks_at - now):
                    await self._sooner.wait()

    async def look(self) -> None:
        """Tell the runner of those who are suspected from here on."""
        now = self._now()
        events = []
        for watched in self._watch.due(now):
            silent_s, heartbeat_s = now - watched.rhythm.heard_at, watched.session.heartbeat_s
            reason = f"silent for {silent_s:.1f} s, where it is to speak every {heartbeat_s:.1f} s"
            phi = round(watched.phi(now), 1)
            events.append(DeviceSuspected(at=now, device=watched.device, phi=phi, reason=reason))
        if events:
            self._metrics.suspicions.inc(len(events))
            await self._runner.tell_all(events, lambda _: None)

    def add(self, watched: Watched) -> None:
        """Watch a device that is recorded as connected."""
        self._watch.add(watched, self._now())
        self._keep_pace()
        watched.session.pace(self.pace_for(watched.lease_s))  # it may have changed since its Welcome
        if watched.suspect_at < self._looks_at:
            self._sooner.set()

    def remove(self, watched: Watched) -> None:
        """Watch a device's link no more, if it is watched."""
        self._watch.remove(watched)
        self._keep_pace()

    def heard(self, watched: Watched) -> bool:
        """Note that the device has spoken; return whether it was suspected."""
        return self._watch.heard(watched)

    def leased(self, watched: Watched, order: Dispatch) -> None:
        """Let the device renew as often as the lease needs that it is given."""
        lease_s = order.stop_after_s or inf
        if len(self._runner.core.placer.held.get(watched.device, ())) > 1:
            lease_s = min(lease_s, watched.lease_s)
        if lease_s != watched.lease_s:
            watched.lease_s = lease_s
            watched.session.pace(self.pace_for(lease_s))

    def shortest_lease(self, device: str) -> float:
        """Return how long the shortest lease is that the device may hold."""
        core = self._runner.core
        shortest = inf
        for attempt in core.placer.held.get(device, ()):
            disconnect = core.constellations[attempt.constellation].courses[attempt.star].star.disconnect
            shortest = min(shortest, disconnect.stops_after_s or inf)
        return shortest

    def pace_for(self, lease_s: float) -> float:
        """Return the heartbeat for a device with leases of at least so long."""
        return max(self._heartbeat_least_s, min(self.heartbeat_s, lease_s / RENEWALS))

    def _keep_pace(self) -> None:
        """Let devices renew more seldom as they become more, and more often as they become fewer."""
        heartbeat_s = heartbeat_for(len(self._watch), self._heartbeat_least_s, self.heartbeat_s)
        if heartbeat_s != self.heartbeat_s:
            self.heartbeat_s = heartbeat_s
            for watched in self._watch:
                watched.session.pace(self.pace_for(watched.lease_s))
