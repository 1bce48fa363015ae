"""What a policy of placement is asked, and what it answers."""

from typing import Protocol

from ..attempt import Candidate

EXPLAINED_MAX = 8  # candidates and refusals that are kept with a decision


class Policy(Protocol):
    """An order of preference among the devices that can do a star's call."""

    name: str
    weighs: bool  # whether it reads the times; else they are not worked out
    waits: bool  # whether a star may be kept for a device that is full, while another one is free

    def rank(self, candidates: list[Candidate]) -> None:
        """Put the devices in order, the best first."""

    def chose(self, device: str) -> None:
        """Take note that a star was leased to the device."""
