"""When to dial again: exponential back-off with full jitter, for ever."""

from random import Random

FIRST_S = 0.2
CAP_S = 10.0
STEADY_AFTER_S = 1.0  # a link that lasted so long ends the back-off
WISH_S_MAX = 600.0  # a wish beyond it is no wish


class Reconnect:
    """The delays of one agent's attempts to dial."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0

    def ended(self, lasted_s: float, retry_after_s: float = 0.0) -> float:
        """Return how long to wait after a link on which the device was welcome for so long (0: never).

        Galaxy's own wish spreads a crowd that was sent away at once: it is a floor, with jitter above it.
        """
        self._failures = 0 if lasted_s >= STEADY_AFTER_S else self._failures + 1
        ceiling = min(CAP_S, FIRST_S * 2 ** min(self._failures, 16))
        return min(max(retry_after_s, 0.0), WISH_S_MAX) + self._random.uniform(0.0, ceiling)
