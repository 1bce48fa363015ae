"""What is to be compared with: HEFT that knows every duration before it begins, and the bound that nobody can pass."""

from bisect import insort

from .instance import Graph, Instance, Work

Slot = tuple[str, int]


def heft(made: Instance, graph: Graph) -> float:
    """Return the makespan of HEFT with insertion (Topcuoglu, Hariri and Wu, 2002); a slot is a processor."""
    ranks = _ranks(made, graph)
    busy: dict[Slot, list[tuple[float, float]]] = {
        (name, n): [] for name, machine in made.machines.items() for n in range(machine.slots)
    }
    ends: dict[str, float] = {}
    where: dict[str, str] = {}
    for name in sorted(graph.stars, key=lambda one: -ranks[one]):
        work = graph.stars[name]
        ready_at = max((ends[source] for source in work.sources), default=0.0)
        best: tuple[float, float, Slot] | None = None
        for machine in made.able(work):
            took_s = made.runs_s(work, machine) + made.moves_s(graph, work, machine, where)
            for n in range(made.machines[machine].slots):
                begin = _gap(busy[machine, n], ready_at, took_s)
                if best is None or begin + took_s < best[0]:
                    best = (begin + took_s, begin, (machine, n))
        assert best, "each star can be done somewhere"
        ends[name], begin, slot = best
        where[name] = slot[0]
        insort(busy[slot], (begin, ends[name]))
    return max(ends.values())


def bound(made: Instance, graph: Graph) -> float:
    """Return what no plan is quicker than: the longest way on the quickest devices, or all work on all slots."""
    least = {name: min(made.runs_s(work, one) for one in made.able(work)) for name, work in graph.stars.items()}
    ends: dict[str, float] = {}
    for name, work in graph.stars.items():
        ends[name] = least[name] + max((ends[source] for source in work.sources), default=0.0)
    return max(*ends.values(), sum(least.values()) / sum(one.slots for one in made.machines.values()))


def _gap(busy: list[tuple[float, float]], ready_at: float, took_s: float) -> float:
    begin = ready_at
    for start, end in busy:
        if begin + took_s <= start:
            break
        begin = max(begin, end)
    return begin


def _ranks(made: Instance, graph: Graph) -> dict[str, float]:
    behind: dict[str, list[Work]] = {name: [] for name in graph.stars}
    for work in graph.stars.values():
        for source in work.sources:
            behind[source].append(work)
    rate = sum(machine.rate for machine in made.machines.values()) / len(made.machines)
    ranks: dict[str, float] = {}
    for name, work in reversed(graph.stars.items()):
        able = made.able(work)
        mean_s = sum(made.runs_s(work, one) for one in able) / len(able)
        ranks[name] = mean_s + max((work.bytes / rate + ranks[each.name] for each in behind[name]), default=0.0)
    return ranks
