"""Seeds, one after the other or many at once: what came of each, and what they found together."""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from multiprocessing import get_context

from .history import History
from .judges import violations
from .plan import Plan, planned
from .world import World

CHUNK = 10  # seeds that a process is given at a time


@dataclass(slots=True)
class Verdict:
    """What came of one world."""

    seed: int
    profile: str
    violations: list[str]
    simulated_s: float
    wall_s: float
    constellations: int
    stars: int
    attempts: int
    faults: int
    kinds: Counter[str] = field(default_factory=Counter)  # of what was recorded, and of faults

    @property
    def passed(self) -> bool:
        return not self.violations


def simulated(plan: Plan) -> tuple[Verdict, History]:
    """Live through a plan, and judge it."""
    world = World(plan)
    history = world.run()
    kinds = Counter(row.kind for _, row in history.commits)
    kinds.update(f"fault {fault.kind}" for fault in plan.faults)
    verdict = Verdict(
        plan.seed,
        plan.profile,
        violations(plan, history),
        world.loop.time(),
        world.wall_s,
        len(plan.submissions),
        len({(event["stream"], event["star"]) for event in history.events if event["kind"] == "star_leased"}),
        kinds["star_leased"],
        len(plan.faults),
        kinds,
    )
    return verdict, history


def digest(history: History) -> str:
    """Return what tells this history apart from every other."""
    found = sha256()
    for at, row in history.commits:
        found.update(f"{at!r} {row.stream} {row.seq} ".encode() + row.body)
    for moment in history.moments:
        found.update(f"{moment.at!r} {moment.text}".encode())
    return found.hexdigest()


def one(seed: int, profile: str) -> Verdict:
    """Return what came of a seed."""
    return simulated(planned(seed, profile))[0]


def several(seeds: range, profile: str, jobs: int = 0) -> Iterator[Verdict]:
    """Yield what came of each seed, in order, over so many processes; 0: as many as there are processors."""
    jobs = jobs or os.cpu_count() or 1
    if jobs == 1 or len(seeds) <= 1:
        yield from (one(seed, profile) for seed in seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(partial(one, profile=profile), seeds, chunksize=CHUNK)
