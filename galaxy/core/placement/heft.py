"""Placement by the earliest finish, with what is behind the star in view: HEFT with PEFT's look-ahead, made online.

Topcuoglu, Hariri and Wu (2002) take the tasks by their upward rank and give each to the processor that finishes it
first; Arabnejad and Barbosa (2014) add to that finish what the task's successors would need from there at best, so that
a device that is quick now and slow for what follows is not taken. Here the ranks order the queue of ready stars, the
durations are learned, and only what can start now is committed.
"""

from ..attempt import Candidate


class Heft:
    """The earliest finish counts; a full device is worth waiting for where that is sooner."""

    name = "heft"
    weighs = True
    waits = True

    def rank(self, candidates: list[Candidate]) -> None:
        candidates.sort(
            key=lambda c: (
                c.starts_in_s + c.moves_s + c.runs_s + c.behind_s + c.burden_s,
                c.starts_in_s,
                c.held / c.slots if c.slots else 1.0,
                c.device,
            )
        )

    def chose(self, device: str) -> None:
        """It does not matter."""
