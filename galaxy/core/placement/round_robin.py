"""Placement in turn: of the devices with room, the one whose last turn is longest ago."""

from ..attempt import Candidate

DEVICES_KEPT_MAX = 10_000


class RoundRobin:
    """Gives each device its turn, whatever it is and holds."""

    name = "round_robin"
    weighs = False
    waits = False

    def __init__(self) -> None:
        self._turn = 0
        self._turns: dict[str, int] = {}

    def rank(self, candidates: list[Candidate]) -> None:
        candidates.sort(
            key=lambda c: (c.held >= c.slots, self._turns.get(c.device, 0), c.device),
        )

    def chose(self, device: str) -> None:
        if len(self._turns) > DEVICES_KEPT_MAX:
            self._turns.clear()
        self._turn += 1
        self._turns[device] = self._turn
