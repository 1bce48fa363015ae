"""Placement by the earliest start: the feasible device that could begin soonest, then the one with the most room."""

from collections.abc import Iterable

from ..attempt import Candidate

EXPLAINED_MAX = 8  # candidates and refusals that are kept with a decision


def ranked(loads: Iterable[tuple[str, int, int]], mean_run_s: float) -> list[Candidate]:
    """Return the candidates, the best first; `loads` are device, slots held and slots.

    A device with a free slot starts now. A full one is expected to free a slot after the mean run divided by its slots:
    the first to end of that many runs that began at times nobody knows.
    """
    candidates = [
        Candidate(device, 0.0 if held < slots else mean_run_s / max(slots, 1), held, slots)
        for device, held, slots in loads
    ]
    if len(candidates) > 1:
        candidates.sort(key=lambda c: (c.starts_in_s, c.held / c.slots if c.slots else 1.0, c.device))
    return candidates
