"""Fleets that are not always well: batteries that empty, networks that cost, people who come and go.

The same constellations are played on them, and each lease is held against what its device had told by then. What is
broken is worked out here from the instance, and not asked of the code that is judged.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, NamedTuple

from galaxy.core.events import Event, StarLeased
from galaxy.core.fleet_events import DeviceVitals
from protocol.vocabulary import Vitals

from .instance import Graph, Instance, instance
from .play import Play

GRAPHS = 2
BATTERY_MIN = 0.15
METERED_BYTES_MAX = 10_000_000
HORIZON_S = 100_000.0  # of what happens to the devices
PAUSE_S = 60.0  # on the mean, between two changes of a device
INTERACTIVE = "tool0"  # what this tool does is done in somebody's session


class Broken(NamedTuple):
    """A lease that should not have been given, and why."""

    seed: int
    star: str
    device: str
    why: str


@dataclass
class Judged:
    """What one seed brought about."""

    leases: int = 0
    tempted: int = 0  # leases at a moment when some device was not to be used
    broken: list[Broken] = field(default_factory=list)


def limits(verdicts: Iterable[Judged]) -> dict[str, Any]:
    """Return the sum of the verdicts."""
    every = list(verdicts)
    return {
        "leases": sum(each.leases for each in every),
        "tempted": sum(each.tempted for each in every),
        "broken": [broken._asdict() for each in every for broken in each.broken],
    }


def judged(seed: int, policy: str) -> Judged:
    """Play the seed's constellations by the policy on devices that change, and judge every lease."""
    made = instance(seed, GRAPHS)
    play = Changing(made, policy, Random(seed))
    for graph in made.graphs:
        play.makespan(graph)
    return play.judged


class Changing(Play):
    """A play in which devices tell how they are, again and again."""

    def __init__(self, made: Instance, policy: str, chance: Random) -> None:
        self.judged = Judged()
        self._told: dict[str, Vitals] = {}
        self._to_tell: list[tuple[float, int, DeviceVitals]] = []
        self._graph = made.graphs[0]
        super().__init__(made, policy, interactive=INTERACTIVE)
        steady = set(list(made.machines)[: len(made.machines) // 2])  # so that everything can end
        steady |= {name for tool in made.bases for name in _first(made, tool)}
        for number, device in enumerate(sorted(made.machines.keys() - steady)):
            for each in _changes(device, made.machines[device].rate, chance):
                heappush(self._to_tell, (each.at, number, each))

    def makespan(self, graph: Graph) -> float:
        self._graph = graph
        return super().makespan(graph)

    def _told_by(self, at: float) -> Event | None:
        if not self._to_tell or self._to_tell[0][0] > at:
            return None
        _, _, told = heappop(self._to_tell)
        self._told[told.device] = told.vitals
        return told

    def _saw(self, event: Event) -> None:
        if not isinstance(event, StarLeased):
            return
        self.judged.leases += 1
        work = self._graph.stars[event.star]
        inputs = sum(self._graph.stars[source].bytes for source in work.sources)
        wrong = {device: _wrong(vitals, work.tool, inputs) for device, vitals in self._told.items()}
        self.judged.tempted += any(wrong.values())
        if why := wrong.get(event.device, ""):
            self.judged.broken.append(Broken(self._made.seed, event.star, event.device, why))


def _first(made: Instance, tool: str) -> list[str]:
    return [name for name, machine in made.machines.items() if tool in machine.factors][:1]


def _changes(device: str, rate: float, chance: Random) -> Iterable[DeviceVitals]:
    at, battery = 0.0, chance.random()
    while at < HORIZON_S:
        charging = chance.random() < 0.4
        battery = min(1.0, max(0.0, battery + (0.1 if charging else -0.1) * chance.uniform(0.5, 2.0)))
        vitals = Vitals(
            battery=round(battery, 3),
            charging=charging,
            metered=chance.random() < 0.3,
            in_use=chance.random() < 0.3,
            load=round(chance.uniform(0.0, 2.0), 2),
            link_bytes_per_s=rate,
        )
        yield DeviceVitals(at=at, device=device, vitals=vitals)
        at += chance.expovariate(1.0 / PAUSE_S)


def _wrong(vitals: Vitals, tool: str, inputs: int) -> str:
    if vitals.battery is not None and vitals.battery < BATTERY_MIN and not vitals.charging:
        return f"its battery is at {vitals.battery:.0%}, and it does not charge"
    if vitals.metered and inputs > METERED_BYTES_MAX:
        return f"{inputs} bytes go over a network that costs"
    if vitals.in_use and tool == INTERACTIVE:
        return "a person is at it, and the call is interactive"
    return ""
