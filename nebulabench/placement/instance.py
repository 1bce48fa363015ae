"""A fleet of unlike devices and the constellations that it is to run, all from one seed."""

from dataclasses import dataclass, field
from random import Random

TOOLS = tuple(f"tool{n}" for n in range(6))
CCRS = (0.1, 0.5, 1.0, 2.0, 10.0)  # the time to move results, over the time to make them, on the mean
BASE_S = 10.0


@dataclass(frozen=True)
class Machine:
    """One device, as it really is."""

    name: str
    slots: int
    rate: float  # bytes a second
    factors: dict[str, float]  # of the tools that it has: how much longer than the tool's base


@dataclass
class Work:
    """One star, as it really is."""

    name: str
    tool: str
    size: float  # by which it differs from others of its tool: nobody can know it before
    bytes: int = 0  # of its result
    sources: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Graph:
    """Stars in an order in which each comes after its sources."""

    stars: dict[str, Work]
    ccr: float


@dataclass(frozen=True)
class Instance:
    """What one seed makes: all constellations run one after another, so that the last ones meet what was learned."""

    seed: int
    machines: dict[str, Machine]
    bases: dict[str, float]
    graphs: list[Graph]

    def runs_s(self, work: Work, machine: str) -> float:
        return self.bases[work.tool] * work.size * self.machines[machine].factors[work.tool]

    def able(self, work: Work) -> list[str]:
        return [name for name, machine in self.machines.items() if work.tool in machine.factors]

    def moves_s(self, graph: Graph, work: Work, machine: str, made_on: dict[str, str]) -> float:
        away = sum(graph.stars[source].bytes for source in work.sources if made_on[source] != machine)
        return away / self.machines[machine].rate


def instance(seed: int, graphs: int) -> Instance:
    """Return the instance of a seed: 5 to 20 devices, graphs of 20 to 200 stars, one ratio of moving to making."""
    chance = Random(seed)
    bases = {tool: BASE_S * chance.lognormvariate(0.0, 0.5) for tool in TOOLS}
    machines = {f"d{n}": _machine(f"d{n}", chance) for n in range(chance.randint(5, 20))}
    names = list(machines)
    for tool in TOOLS:  # each can be done in two places at least
        have = [name for name in names if tool in machines[name].factors]
        for name in chance.sample([n for n in names if n not in have], max(0, 2 - len(have))):
            machines[name].factors[tool] = chance.lognormvariate(0.0, 0.8)
    ccr = CCRS[seed % len(CCRS)]
    made = Instance(seed, machines, bases, [])
    for _ in range(graphs):
        made.graphs.append(_graph(made, chance, ccr))
    return made


def _machine(name: str, chance: Random) -> Machine:
    speed = chance.lognormvariate(0.0, 0.7)
    factors = {tool: speed * chance.lognormvariate(0.0, 0.3) for tool in TOOLS if chance.random() < 0.8}
    return Machine(name, chance.choice((1, 1, 2, 4)), 1e6 * chance.lognormvariate(2.0, 0.7), factors)


def _graph(made: Instance, chance: Random, ccr: float) -> Graph:
    total, width = chance.randint(20, 200), chance.randint(3, 15)
    stars: dict[str, Work] = {}
    layers: list[list[str]] = []
    while len(stars) < total:
        layer = []
        for _ in range(min(chance.randint(1, 2 * width), total - len(stars))):
            work = Work(f"s{len(stars)}", chance.choice(TOOLS), chance.lognormvariate(0.0, 0.2))
            before = [name for above in layers[-2:] for name in above]
            work.sources = chance.sample(before, min(len(before), chance.randint(1, 3))) if before else []
            stars[work.name] = work
            layer.append(work.name)
        layers.append(layer)
    graph = Graph(stars, ccr)
    rate = sum(machine.rate for machine in made.machines.values()) / len(made.machines)
    for work in stars.values():
        able = made.able(work)
        mean_s = sum(made.runs_s(work, name) for name in able) / len(able)
        work.bytes = round(ccr * mean_s * rate * chance.uniform(0.5, 1.5))
    return graph
