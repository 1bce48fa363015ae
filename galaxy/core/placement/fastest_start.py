"""Placement by the earliest start: the device that can begin soonest, then the one with the most room."""

from ..attempt import Candidate


class FastestStart:
    """Asks nothing of how long anything takes."""

    name = "fastest_start"
    weighs = False
    waits = False

    def rank(self, candidates: list[Candidate]) -> None:
        candidates.sort(key=lambda c: (c.starts_in_s, c.held / c.slots if c.slots else 1.0, c.device))

    def chose(self, device: str) -> None:
        """It does not matter."""
