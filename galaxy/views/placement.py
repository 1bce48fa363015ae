"""Where a star could go: every device with the terms of its score, or with why it cannot."""

from ..core.constellation import Constellation
from ..core.course import Course
from ..core.orchestrator import Orchestrator
from .revisions import Picture

UNDIVIDED = "it has no slots"


def placement(core: Orchestrator, c: Constellation, course: Course, now: float) -> Picture:
    """Return the star's last attempt as it was placed, and how its next one would be placed as things are now.

    The terms are seconds: until a slot is free, to bring the inputs there, for the call itself, what those behind it
    need from there at best, and by how much the call counts as longer for what speaks against the device. The policy
    ranks by them, or by some of them; the sum is what `heft` goes by.
    """
    able, refused = core.placer.weighed(c, course, now)
    last = course.attempts[-1] if course.attempts else None
    durations = core.placer.weighing.durations
    devices: list[Picture] = [
        {
            "device": one.device,
            "able": True,
            "reason": None,
            "starts_in_s": round(one.starts_in_s, 6),
            "moves_s": round(one.moves_s, 6),
            "runs_s": round(one.runs_s, 6),
            "behind_s": round(one.behind_s, 6),
            "burden_s": round(one.burden_s, 6),
            "burden": one.burden or None,
            "score_s": round(one.starts_in_s + one.moves_s + one.runs_s + one.behind_s + one.burden_s, 6),
            "held": one.held,
            "slots": one.slots,
            "calls_seen": durations.seen(course.star.tool, one.device),
        }
        for one in able
    ]
    known = refused.keys() | {one.device for one in able}
    without = {device: UNDIVIDED for device in core.fleet.devices if device not in known}
    devices += [_refused(device, why) for device, why in (refused | without).items()]
    wait = core.placer.explained(c, course) if c.end is None else None
    return {
        "constellation": c.id,
        "star": course.star.id,
        "state": course.state,
        "policy": core.placer.policy.name,
        "wait": wait.reason if wait else None,
        "last": {"attempt": last.number, "device": last.device, "outcome": last.outcome or None} if last else None,
        "devices": devices,
    }


def _refused(device: str, why: str) -> Picture:
    seconds = ("starts_in_s", "moves_s", "runs_s", "behind_s", "burden_s", "score_s")
    terms = (*seconds, "burden", "held", "slots", "calls_seen")
    return {"device": device, "able": False, "reason": why, **dict.fromkeys(terms)}
