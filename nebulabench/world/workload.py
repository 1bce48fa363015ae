"""What clients ask of a simulated galaxy: constellations of every shape and policy, and what is done to them later."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import msgspec
from msgspec import Raw

from galaxy.core.binding import FROM, bindings_in
from galaxy.core.goal import Goal, Planning
from galaxy.core.star import (
    Disconnect,
    Fallback,
    Line,
    Needs,
    OnFailure,
    Reconcile,
    Retry,
    Star,
    Timeouts,
    Verify,
    When,
)

from .tools import Doing

QUEUE_S = 240.0  # of every star: what nobody can do comes to an end too
PURE, IDEMPOTENT, ONCE = "sim.look", "sim.put", "sim.act"
TOOLS = (PURE, IDEMPOTENT, ONCE)
SHAPES = ("chain", "fan", "layered", "loose")
NO_RULES = Planning(repair=False)
DEEDS = ("pause", "resume", "cancel", "add", "remove", "update", "skip", "retry", "supersede")


@dataclass(frozen=True, slots=True)
class Submission:
    """A constellation, and when it is asked for. One with a goal has no stars yet."""

    at: float
    constellation: str
    stars: tuple[Star, ...] = ()
    lines: tuple[Line, ...] = ()
    goal: Goal | None = None
    planning: Planning = NO_RULES


@dataclass(frozen=True, slots=True)
class Deed:
    """What a person does to a constellation; to which star, is chosen when it is seen, by `seed`."""

    at: float
    constellation: str
    what: str
    seed: int


def submissions(random: Random, devices: list[str], stars: int, within_s: float, planner: str) -> list[Submission]:
    """Return constellations with so many stars in all; `planner` draws some of them, if there is one."""
    found: list[Submission] = []
    left = stars
    while left > 0:
        size = min(left, random.choice((1, 3, 8, 15, 25)))
        left -= size
        name, at = f"c{len(found) + 1}", random.uniform(0.0, within_s)
        if planner and random.random() < 0.7:
            planning = Planning(
                planner=planner, repair=random.random() < 0.3, answer_within_s=random.choice((5.0, 30.0))
            )
            found.append(Submission(at, name, goal=Goal("whatever"), planning=planning))
            continue
        names = [f"s{n}" for n in range(size)]
        lines = _lines(random, names)
        into = {one: [line.source for line in lines if line.target == one] for one in names}
        drawn = tuple(star(random, f"{name}/{one}", devices, into[one]) for one in names)
        planning = Planning(planner=planner, repair=random.random() < 0.5) if planner else NO_RULES
        found.append(Submission(at, name, drawn, tuple(lines), planning=planning))
    return found


def star(random: Random, name: str, devices: list[str], sources: list[str]) -> Star:
    """Return a star of any kind. `name` is `constellation/star`."""
    tool = random.choice(TOOLS)
    arguments = msgspec.to_builtins(_doing(random))
    if sources and random.random() < 0.3:
        arguments["feed"] = {FROM: random.choice(sources), "pointer": "/value"}
    verify = None
    if tool == ONCE and random.random() < 0.6:
        asked = Raw(msgspec.json.encode({"star": name}))
        verify = Verify("sim.check", "result.happened", asked)
    lost_after_s = random.choice((15.0, 40.0, 60.0))
    return Star(
        name.partition("/")[2],
        tool,
        Raw(msgspec.json.encode(arguments)),
        bindings_in(arguments),
        needs=Needs(device=random.choice(devices)) if random.random() < 0.1 else Needs(),
        verify=verify,
        retry=Retry(random.choice((1, 2, 4)), random.choice((0.0, 1.0)), cap_s=10.0),
        timeouts=Timeouts(QUEUE_S, random.choice((8.0, 40.0)), random.choice((0.0, 0.0, 6.0))),
        disconnect=Disconnect(
            lost_after_s,
            random.choice((lost_after_s, lost_after_s, 10.0, 0.0 if tool != ONCE else 10.0)),
            random.choice((None, None, True, False)) if tool != ONCE else None,
            random.choice(list(Reconcile)),
        ),
        priority=random.choice((0, 0, 0, 1, -1, 5)),
        on_failure=random.choice((None, None, None, OnFailure.PAUSE)),
        fallback=Fallback(PURE) if random.random() < 0.05 else None,
        hedge=tool == PURE and random.random() < 0.3,
    )


def _doing(random: Random) -> Doing:
    fails = random.random()
    return Doing(
        takes_s=random.choice((0.05, 0.5, 2.0, 6.0, 12.0)) if random.random() < 0.9 else 30.0,
        notes=random.choice((0, 0, 2)),
        size=random.choice((0, 0, 10_000)),
        fails=random.choice((0.0, 0.3, 0.8)) if fails < 0.3 else 0.0,
        is_fatal=0.5 if fails > 0.95 else 0.0,
        crashes=0.3 if 0.9 < fails < 0.93 else 0.0,
        lies=0.5 if 0.93 < fails < 0.95 else 0.0,
    )


def _lines(random: Random, names: list[str]) -> list[Line]:
    match random.choice(SHAPES):
        case "chain":
            pairs = list(pairwise(names))
        case "fan":
            pairs = [(names[0], one) for one in names[1:]]
        case "layered":
            pairs = [
                (source, target)
                for n, target in enumerate(names)
                for source in sorted(random.sample(names[max(0, n - 6) : n], min(n, random.choice((0, 1, 2)))))
            ]
        case _:
            pairs = []
    return [_line(random, source, target) for source, target in pairs]


def _line(random: Random, source: str, target: str) -> Line:
    drawn = random.random()
    if drawn < 0.75:
        return Line(source, target)
    if drawn < 0.85:
        return Line(source, target, When.ALWAYS)
    if drawn < 0.95:
        return Line(source, target, When.CONDITION, "result.value >= 30")
    return Line(source, target, When.FAILURE)


def deeds(random: Random, constellations: list[Submission], until: float) -> list[Deed]:
    """Return what people do while all goes on."""
    found = []
    for one in constellations:
        for _ in range(random.choice((0, 1, 2, 4))):
            at = min(until, one.at + random.choice((1.0, 10.0, 40.0)) * random.random())
            found.append(Deed(at, one.constellation, random.choice(DEEDS), random.randrange(1 << 30)))
    return found
