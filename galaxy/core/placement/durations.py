"""How long calls take, learned from those that have ended: of a tool, on a device.

The logarithm of a run is taken as the tool's part, the device's part, and what the two have in common beyond that; each
is learned by its mean residual and shrunk towards nothing while few runs were seen. So a device that is three times as
fast with two tools is expected to be as fast with a third, until that one says otherwise.
"""

from collections import deque
from math import exp, log

from msgspec import Struct

GUESS_S = 1.0  # of any tool, while none was seen
SHORT_S = 0.1  # calls that take less on the mean are not worth weighing one device against another for
MEAN_WEIGHT = 0.1  # of the newest run in the moving mean
RUNS_KEPT = 64  # of each tool
RUNS_TELL = 8  # fewer runs than this say nothing of what is slow
SLOW_OF_RUNS = 0.95
PAIRS_MAX = 100_000  # of tool and device
NEWEST_WEIGHT_MIN = 0.05  # what was learned long ago is forgotten at this pace
_RUN_S_MIN, _RUN_S_MAX = 1e-6, 1e7  # a device may say anything


class Part(Struct):
    """A part of a logarithm, and of how many runs it was learned."""

    value: float = 0.0
    runs: int = 0

    def learn(self, residual: float, shrink: float) -> None:
        self.runs += 1
        self.value += residual * max(1.0 / (self.runs + shrink), NEWEST_WEIGHT_MIN)


class Durations:
    """What calls of each tool took, on each device."""

    def __init__(self) -> None:
        self.runs = 0  # that were learned from
        self._anyone_s = GUESS_S  # the moving mean of all tools
        self._mean_s: dict[str, float] = {}
        self._last_s: dict[str, deque[float]] = {}
        self._tools: dict[str, Part] = {}
        self._devices: dict[str, Part] = {}
        self._pairs: dict[tuple[str, str], Part] = {}

    def learn(self, tool: str, device: str, ran_s: float) -> None:
        """Take a run in."""
        ran_s = min(max(_RUN_S_MIN, ran_s), _RUN_S_MAX)
        mean = self._mean_s.get(tool, ran_s)
        self._mean_s[tool] = mean + MEAN_WEIGHT * (ran_s - mean)
        if (last := self._last_s.get(tool)) is None:
            last = self._last_s[tool] = deque(maxlen=RUNS_KEPT)
        last.append(ran_s)
        self.runs += 1
        self._anyone_s += max(1.0 / self.runs, MEAN_WEIGHT) * (ran_s - self._anyone_s)
        if mean < SHORT_S:
            return
        if len(self._pairs) > PAIRS_MAX:
            self._pairs.clear()
        whole, own, both = self._parts(tool, device)
        residual = log(ran_s) - whole.value - own.value - both.value
        whole.learn(residual, 0.0)
        if whole.runs > 1:  # the first run of a tool says nothing of the device that made it
            own.learn(residual, 1.0)
            both.learn(residual, 2.0)

    def mean_s(self, tool: str) -> float:
        """Return how long a call of the tool takes, wherever it is made."""
        mean_s = self._mean_s.get(tool)
        return self._anyone_s if mean_s is None else mean_s

    def matter(self, tool: str) -> bool:
        """Return whether calls of the tool take long enough for it to matter where they are made."""
        return self._mean_s.get(tool, 0.0) >= SHORT_S

    def seen(self, tool: str, device: str) -> int:
        """Return how many of the tool's calls on the device count in what is expected; short ones do not."""
        pair = self._pairs.get((tool, device))
        return pair.runs if pair else 0

    def expected_s(self, tool: str, device: str) -> float:
        """Return how long a call of the tool is expected to take on the device."""
        whole = self._tools.get(tool)
        if whole is None:
            own = self._devices.get(device)
            return self.mean_s(tool) * (exp(own.value) if own else 1.0)
        own, both = self._devices.get(device), self._pairs.get((tool, device))
        return exp(whole.value + (own.value if own else 0.0) + (both.value if both else 0.0))

    def slow_s(self, tool: str) -> float | None:
        """Return what 95 of 100 calls of the tool do not take, or None where too few were seen."""
        last = self._last_s.get(tool, ())
        return sorted(last)[int(SLOW_OF_RUNS * (len(last) - 1))] if len(last) >= RUNS_TELL else None

    def _parts(self, tool: str, device: str) -> tuple[Part, Part, Part]:
        return (
            self._tools.setdefault(tool, Part()),
            self._devices.setdefault(device, Part()),
            self._pairs.setdefault((tool, device), Part()),
        )
