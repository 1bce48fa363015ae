"""What a star would cost on each device that can do it: the numbers that a policy ranks by."""

from collections.abc import Iterable

from msgspec import Raw

from ..attempt import AttemptId, Candidate
from ..constellation import Constellation
from ..course import Course
from ..fleet import Fleet
from .durations import Durations
from .inputs import Input, artifact_bytes
from .outlook import Able, Outlook
from .timeline import Timeline, Under

RATE_GUESS = 10e6  # bytes a second, to or from a device that has not told
DIFFER_FROM = 1.1  # as often as long on one device as on another: less is not worth weighing
DIFFER_KEPT_MAX = 1_000
BYTES_WEIGHT = 0.1  # of the newest result in the moving mean

Held = dict[str, dict[AttemptId, Under]]  # device -> what it holds


class Weighing:
    """The measures of placement; the placer owns who holds what."""

    def __init__(self, fleet: Fleet, held: Held, able: Able) -> None:
        self.fleet = fleet
        self.durations = Durations()
        self.outlook = Outlook(self.durations, able, self._moved_s)
        self._held = held
        self._bytes: dict[str, float] = {}  # of the artifacts that a tool's result names: the moving mean
        self._differ: dict[tuple[str, tuple[str, ...]], tuple[int, bool]] = {}  # when to look again, and what was seen

    def learn(self, tool: str, device: str, ran_s: float, result: Raw) -> None:
        """Take in how a call went."""
        self.durations.learn(tool, device, ran_s)
        if (size := artifact_bytes(result)) or tool in self._bytes:
            mean = self._bytes.get(tool, float(size))
            self._bytes[tool] = mean + BYTES_WEIGHT * (size - mean)

    def timeline(self, now: float) -> Timeline:
        """Return when the devices free their slots."""
        return Timeline(now, lambda device: self._held.get(device, {}).values(), lambda d: self.fleet.devices[d].slots)

    def plain(self, able: Iterable[str], tool: str) -> list[Candidate]:
        """Return the devices by how full they are; a full one frees a slot after the mean run divided by its slots."""
        devices, held, mean_s = self.fleet.devices, self._held, self.durations.mean_s(tool)
        loads = []
        for device in able:
            taken, slots = len(held.get(device, ())), devices[device].slots
            loads.append(Candidate(device, 0.0 if taken < slots else mean_s / max(slots, 1), taken, slots))
        return loads

    def matters(self, able: tuple[str, ...], course: Course, inputs: tuple[Input, ...]) -> bool:
        """Return whether it matters on which of the able devices the star runs, beyond who can start it now."""
        if len(able) < 2:
            return False
        if inputs:
            return True
        tool, durations = course.star.tool, self.durations
        if not durations.matter(tool):
            return False
        runs, differ = self._differ.get((tool, able), (0, False))
        if durations.runs >= runs:
            if len(self._differ) > DIFFER_KEPT_MAX:
                self._differ.clear()
            expected = [durations.expected_s(tool, device) for device in able]
            differ = max(expected) > DIFFER_FROM * min(expected)
            self._differ[tool, able] = durations.runs + len(able) + durations.runs // 4, differ
        return differ

    def weighed(
        self, able: tuple[str, ...], c: Constellation, course: Course, inputs: tuple[Input, ...], timeline: Timeline
    ) -> list[Candidate]:
        """Return the devices with all that is known of the star's time there. Those without slots are left out."""
        tool, durations = course.star.tool, self.durations
        devices = [device for device in able if self.fleet.devices[device].slots]
        behind = self.outlook.behind_s(c, course.star.id, len(self.fleet.devices))
        loads = []
        for device in devices:
            away = sum(each.bytes for each in inputs if each.device != device)
            loads.append(
                Candidate(
                    device,
                    timeline.starts_in_s(device),
                    len(self._held.get(device, ())),
                    self.fleet.devices[device].slots,
                    durations.expected_s(tool, device),
                    away / self._rate(device),
                    behind.get(device, 0.0),
                )
            )
        return loads

    def _moved_s(self, tool: str, device: str) -> float:
        """Return how long it takes to bring what the tool makes to the device."""
        return self._bytes[tool] / self._rate(device) if tool in self._bytes else 0.0

    def _rate(self, device: str) -> float:
        return self.fleet.devices[device].vitals.link_bytes_per_s or RATE_GUESS
