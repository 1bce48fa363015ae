"""What an edit costs: to check it, and to rebase it over a later revision, in a constellation of so many stars."""

from statistics import median
from time import perf_counter
from typing import Any

from galaxy.api.schemas import LineIn, StarIn
from galaxy.api.translate import line_of, star_of
from galaxy.core.edit import AddLine, AddStar, AnyOperation, Edit, RemoveLine, RemoveStar, Skip, UpdateStar
from galaxy.core.events import ConstellationEdited, ConstellationSubmitted
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.star import Line, Star

from .graphs import LAYER_WIDTH, Shape, bodies

ID = "bench"
OPERATIONS = 20


def edits(stars: int, rounds: int = 200) -> dict[str, Any]:
    """Return milliseconds, medians and 99th percentiles, of checking and of applying edits of twenty operations.

    Each is made against the revision before the last, so it is rebased; its operations are spread over the graph.
    """
    core = Orchestrator()
    submitted = _submitted(stars)
    core.check(submitted)
    core.apply(submitted)
    checked: list[float] = []
    applied: list[float] = []
    for turn in range(rounds):
        revision = core.constellations[ID].revision
        event = ConstellationEdited(
            at=float(turn),
            constellation=ID,
            base=max(1, revision - 1),
            edit=Edit(_operations(core, stars, turn)),
            by="bench",
            rebase=True,
        )
        began = perf_counter()
        core.check(event)
        between = perf_counter()
        core.apply(event)
        checked.append(between - began)
        applied.append(perf_counter() - between)
    return {
        "stars": stars,
        "operations": OPERATIONS,
        "rounds": rounds,
        "check_p50_ms": _ms(median(checked)),
        "check_p99_ms": _ms(sorted(checked)[int(rounds * 0.99) - 1]),
        "apply_p50_ms": _ms(median(applied)),
        "apply_p99_ms": _ms(sorted(applied)[int(rounds * 0.99) - 1]),
    }


def _submitted(stars: int) -> ConstellationSubmitted:
    (body,) = bodies(Shape.LAYERED, stars)
    return ConstellationSubmitted(
        at=0.0,
        constellation=ID,
        name=ID,
        stars=tuple(star_of(StarIn(**star), "") for star in body["stars"]),
        lines=tuple(line_of(LineIn(**line), "") for line in body["lines"]),
    )


def _operations(core: Orchestrator, stars: int, turn: int) -> tuple[AnyOperation, ...]:
    """Add, join, rewrite, take away and skip, each at another place; what one edit adds the next but one takes away."""
    operations: list[AnyOperation] = []
    stars_now = core.constellations[ID].courses
    for n in range(3):
        middle = (turn * 37 + n * stars // 3) % (stars - 2 * LAYER_WIDTH) + LAYER_WIDTH
        added = Star(f"t{turn}-{n}", "system.echo")
        operations += [
            AddStar(added),
            AddLine(Line(f"s{middle - LAYER_WIDTH}", added.id)),
            AddLine(Line(added.id, f"s{middle + LAYER_WIDTH}")),
            UpdateStar(Star(f"s{middle}", "system.echo", title=f"turn {turn}")),
        ]
        if (old := f"t{turn - 2}-{n}") in stars_now:
            operations.append(RemoveStar(old))
        else:
            operations.append(UpdateStar(Star(f"s{middle + 1}", "system.echo", title=f"turn {turn}")))
    first = f"t{turn}-0"
    operations += [AddStar(Star(f"u{turn}-{n}", "system.echo")) for n in range(2)]
    operations += [
        AddLine(Line(first, f"u{turn}-0")),
        RemoveLine(first, f"u{turn}-0"),
        Skip(f"u{turn}-1", "not needed"),
    ]
    return tuple(operations)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
