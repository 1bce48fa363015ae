"""All seeds and all policies, in numbers."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any

from galaxy.core.placement.policies import POLICIES

from .instance import CCRS, instance
from .offline import bound, heft
from .play import Play

GRAPHS = 6  # of a seed: the first meets a fleet that nobody knows, the last one that has worked for a while

Row = dict[str, float]


def rows(seeds: range) -> Iterator[tuple[float, list[Row]]]:
    """Yield for each seed its ratio of moving to making, and for each of its graphs the makespan by each way."""
    for seed in seeds:
        made = instance(seed, GRAPHS)
        found: list[Row] = [{"offline": heft(made, g), "bound": bound(made, g)} for g in made.graphs]
        for policy in POLICIES:
            play = Play(made, policy)
            for row, graph in zip(found, made.graphs, strict=True):
                row[policy] = play.makespan(graph)
        yield made.graphs[0].ccr, found


def summary(found: list[tuple[float, list[Row]]]) -> dict[str, Any]:
    """Return the mean makespan of each way over that of offline HEFT: of the first graphs, the last, and by ratio."""
    ways = [*POLICIES, "bound"]
    last = [(ccr, graphs[-1]) for ccr, graphs in found]
    return {
        "seeds": len(found),
        "first": {way: _over([graphs[0] for _, graphs in found], way) for way in ways},
        "last": {way: _over([row for _, row in last], way) for way in ways},
        "last_by_ccr": {
            str(ccr): {way: _over([row for each, row in last if each == ccr], way) for way in ways}
            for ccr in CCRS
            if any(each == ccr for each, _ in last)
        },
    }


def _over(graphs: list[Row], way: str) -> float:
    """Return the mean of the ratios to offline HEFT, so that a long graph counts no more than a short one."""
    return round(fmean(row[way] / row["offline"] for row in graphs), 3)
