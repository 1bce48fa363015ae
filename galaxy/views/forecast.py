"""What an edit would change, and what that would mean for the time that is left. Nothing here changes anything."""

from typing import Any

from ..core.constellation import Constellation
from ..core.course import Course
from ..core.edit import Draft, drafted
from ..core.events import ConstellationEdited
from ..core.fleet import Presence
from ..core.orchestrator import Orchestrator
from ..core.placement.demand import demand_of
from ..core.states import TERMINAL
from ..journal import constellation_of, snapshot_of
from ..store.contract import Recovered
from . import analysis
from .revisions import Picture, difference

ANALYSED_STARS_MAX = 5_000


def foreseen(core: Orchestrator, c: Constellation, event: ConstellationEdited) -> Picture:
    """Return what the edit would change and how long the rest would take before and after; raise Refused."""
    core.check(event)
    draft = drafted(c, event.edit.operations)
    after = constellation_of(Recovered(c.id, snapshot_of(c), 0, []))
    after.apply(event)
    return {
        "id": c.id,
        "dry_run": True,
        "base": event.base,
        "revision": after.revision,
        "diff": difference(c, draft, event.edit.reason),
        "before": forecast(core, c, event.at),
        "after": forecast(core, after, event.at),
        "placement": _placement(core, c, draft),
    }


def forecast(core: Orchestrator, c: Constellation, now: float) -> Picture:
    """Return how long the rest takes by its critical path, and by its work on all slots; the longer one counts.

    As if the devices had nothing else to do, nothing failed and nothing were skipped. A call takes what calls of its
    tool have taken on the mean, or a guess.
    """
    left = {
        star_id: _left_s(core, course, now) for star_id, course in c.courses.items() if course.state not in TERMINAL
    }
    path = _longest(c, left)
    path_s, work_s, slots = sum(left[star_id] for star_id in path), sum(left.values()), _slots(core, c)
    by_slots_s = work_s / slots if slots else None
    found: dict[str, Any] = {
        "stars": len(c.courses),
        "unfinished": len(left),
        "critical_path": path,
        "critical_path_s": round(path_s, 3),
        "work_s": round(work_s, 3),
        "slots": slots,
        "work_by_slots_s": None if by_slots_s is None else round(by_slots_s, 3),
        "remaining_s": None if left and by_slots_s is None else round(max(path_s, by_slots_s or 0.0), 3),
    }
    found["analysis"] = analysis.analysed(c) if len(c.courses) <= ANALYSED_STARS_MAX else None
    return found


def _left_s(core: Orchestrator, course: Course, now: float) -> float:
    mean_s = core.placer.weighing.durations.mean_s(course.star.tool)
    return max(0.0, mean_s - (now - course.attempt.leased_at)) if course.attempt else mean_s


def _longest(c: Constellation, left: dict[str, float]) -> list[str]:
    """Return the stars one behind another that take longest, of those that are left."""
    ends: dict[str, float] = {}
    before: dict[str, str] = {}
    for star_id in sorted(left, key=lambda one: c.levels[one]):  # each is above what it waits for
        sources = [source for source in c.into.get(star_id, ()) if source in ends]
        last = max(sources, key=lambda one: ends[one], default="")
        ends[star_id] = left[star_id] + ends.get(last, 0.0)
        before[star_id] = last
    path: list[str] = []
    star_id = max(ends, key=lambda one: ends[one], default="")
    while star_id:
        path.append(star_id)
        star_id = before[star_id]
    return path[::-1]


def _slots(core: Orchestrator, c: Constellation) -> int:
    return sum(
        device.slots
        for device in core.fleet.devices.values()
        if device.presence is Presence.CONNECTED
        and not device.draining
        and (not c.grant.devices or device.id in c.grant.devices)
    )


def _placement(core: Orchestrator, c: Constellation, draft: Draft) -> Picture:
    """Return for each new star the devices that could take it now, the best first, and why not the others."""
    found: Picture = {}
    for star_id, star in draft.stars.items():
        if star is not None and star_id not in c.courses:
            candidates, refused = core.placer.would_place(demand_of(Course(star), c.grant))
            found[star_id] = {"candidates": [one.device for one in candidates], "refused": refused}
    return found
