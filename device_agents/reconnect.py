"""When to dial again: exponential back-off with full jitter, for ever.

Two agents with one identity, as after a folder was copied, would replace each other without end. So an agent that is
replaced again and again stays away for long, and ever longer.
"""

import logging
from random import Random

from protocol.messages import Bye
from protocol.vocabulary import ByeCode

log = logging.getLogger(__name__)

FIRST_S = 0.2
CAP_S = 10.0
STEADY_AFTER_S = 1.0  # a link that lasted so long ends the back-off
WISH_S_MAX = 600.0  # a wish beyond it is no wish
REPLACED_MAX = 3  # before it is a fight
UNDISTURBED_S = 900.0  # a link that lasted so long ends the fight
FIGHT_FIRST_S, FIGHT_CAP_S = 60.0, 3_600.0
TWO_OF_ONE = "two agents run as this device: was its folder copied? Stop one, and join it anew under a name of its own"


class Reconnect:
    """The delays of one agent's attempts to dial."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0
        self._replaced = 0

    def ended(self, lasted_s: float, retry_after_s: float = 0.0) -> float:
        """Return how long to wait after a link on which the device was welcome for so long (0: never).

        Galaxy's own wish spreads a crowd that was sent away at once: it is a floor, with jitter above it.
        """
        self._failures = 0 if lasted_s >= STEADY_AFTER_S else self._failures + 1
        ceiling = min(CAP_S, FIRST_S * 2 ** min(self._failures, 16))
        return min(max(retry_after_s, 0.0), WISH_S_MAX) + self._random.uniform(0.0, ceiling)

    def after(self, lasted_s: float, bye: Bye | None) -> float:
        """Return how long to wait after a link that ended with this word, if with any."""
        if bye is None or bye.code is not ByeCode.REPLACED:
            return self.ended(lasted_s, bye.retry_after_s if bye else 0.0)
        self._replaced = 1 if lasted_s >= UNDISTURBED_S else self._replaced + 1
        if self._replaced <= REPLACED_MAX:
            return self.ended(lasted_s, bye.retry_after_s)
        ceiling = min(FIGHT_CAP_S, FIGHT_FIRST_S * 2 ** min(self._replaced - REPLACED_MAX - 1, 16))
        away_s = self._random.uniform(ceiling / 2, ceiling)
        log.error("replaced again and again", extra={"reason": TWO_OF_ONE, "away_s": round(away_s)})
        return away_s
