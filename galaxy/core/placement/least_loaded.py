"""Placement by load: the device with the smallest share of its slots taken, then the one with the most slots."""

from ..attempt import Candidate


class LeastLoaded:
    """Spreads work evenly, whatever the devices are."""

    name = "least_loaded"
    weighs = False
    waits = False

    def rank(self, candidates: list[Candidate]) -> None:
        candidates.sort(
            key=lambda c: (c.held >= c.slots, c.held / c.slots if c.slots else 1.0, -c.slots, c.device),
        )

    def chose(self, device: str) -> None:
        """It does not matter."""
