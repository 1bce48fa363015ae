"""Whose turn it is: constellations that compete get equal shares, and each level of priority doubles one's share.

Start-time fair queueing (Goyal, Vin and Cheng, 1996), with a star as the unit of service: every turn moves its
constellation's tag on by the turn's price, and the smallest tag goes next. The clock is the largest start that was
served; a turn never starts before it, so who was idle, or could not be served, goes first once and has no arrears.
"""

LEVELS = 10  # of priority, up and down, beyond which it makes no further difference
KEPT_MAX = 1_000  # tags; who was served longest ago is forgotten first


class Shares:
    """The tags of constellations, in turns; 0 for one that nobody has served of late."""

    def __init__(self) -> None:
        self.tags: dict[str, float] = {}
        self._clock = 0.0

    def charge(self, constellation: str, priority: int) -> None:
        """Note that the constellation had a turn with a star of this priority."""
        self._clock = start = max(self._clock, self.tags.pop(constellation, 0.0))
        self.tags[constellation] = start + 2.0 ** min(LEVELS, max(-priority, -LEVELS))
        if len(self.tags) > KEPT_MAX:
            del self.tags[next(iter(self.tags))]
