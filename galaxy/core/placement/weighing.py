"""What a star would cost on each device that can do it: the numbers that a policy ranks by."""

from collections.abc import Iterable

from protocol.vocabulary import NOTHING, Outcome

from ..attempt import AttemptId, Candidate, Purpose
from ..constellation import Constellation
from ..course import Course
from ..events import StarReported
from ..fleet import Fleet
from .burden import Burdens
from .durations import Durations
from .inputs import Input, artifact_bytes
from .outlook import Able, Outlook
from .timeline import Timeline, Under

RATE_GUESS = 10e6  # bytes a second, to or from a device that has not told
DIFFER_FROM = 1.1  # as often as long on one device as on another: less is not worth weighing
DIFFER_KEPT_MAX = 1_000
SUCCEEDED = Outcome.SUCCEEDED
_REPORTED = frozenset(map(str, Outcome))  # an attempt may also have ended without a report
BYTES_WEIGHT = 0.1  # of the newest result in the moving mean

Held = dict[str, dict[AttemptId, Under]]  # device -> what it holds


class Weighing:
    """The measures of placement; the placer owns who holds what."""

    def __init__(self, fleet: Fleet, held: Held, able: Able) -> None:
        self.fleet = fleet
        self.durations = Durations()
        self.burdens = Burdens(lambda: self.fleet)
        self.outlook = Outlook(self.durations, able, self._moved_s)
        self._held = held
        self._bytes: dict[str, float] = {}  # of the artifacts that a tool's result names: the moving mean
        self._differ: dict[tuple[str, tuple[str, ...]], tuple[int, bool]] = {}  # when to look again, and what was seen

    def fleet_changed(self) -> None:
        """Forget what was worked out of the fleet as it was."""
        self.outlook.fleet_changed()
        self.burdens.fleet_changed()

    def remember(self, course: Course) -> None:
        """Learn from what was recorded of a star: after a restart, from all that has not ended as a whole."""
        for attempt in course.attempts:
            if attempt.purpose is Purpose.RUN and attempt.ended_at is not None and attempt.outcome in _REPORTED:
                report = StarReported(
                    at=attempt.ended_at,
                    constellation="",
                    star=course.star.id,
                    attempt=attempt.number,
                    device=attempt.device,
                    outcome=Outcome(attempt.outcome),
                    result=course.result or NOTHING,
                    failure=attempt.failure,
                    ran_s=attempt.ran_s,
                )
                self.learn(course.star.tool, report)

    def learn(self, tool: str, report: StarReported) -> None:
        """Take in how a call went. How long one took that failed says nothing of those that work."""
        device, result = report.device, report.result
        if report.outcome is not SUCCEEDED:
            failed = report.outcome is Outcome.FAILED and report.failure is not None and report.failure.retryable
            if failed or report.outcome is Outcome.UNKNOWN:
                self.burdens.failed(tool, device, report.at)
            return
        self.durations.learn(tool, device, report.ran_s)
        if self.burdens.failures:
            self.burdens.succeeded(tool, device)
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
        if self.burdens.failures and self.burdens.has_failed(tool, able):
            return True
        if not durations.matter(tool):
            return False
        if self.burdens.burdened(able):
            return True
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
            runs_s, moves_s = durations.expected_s(tool, device), away / self._rate(device)
            burden = self.burdens.on(tool, device, timeline.now)
            loads.append(
                Candidate(
                    device,
                    timeline.starts_in_s(device),
                    len(self._held.get(device, ())),
                    self.fleet.devices[device].slots,
                    runs_s,
                    moves_s,
                    behind.get(device, 0.0),
                    burden.share * (runs_s + moves_s),
                    ", ".join(burden.why),
                )
            )
        return loads

    def _moved_s(self, tool: str, device: str) -> float:
        """Return how long it takes to bring what the tool makes to the device."""
        return self._bytes[tool] / self._rate(device) if tool in self._bytes else 0.0

    def _rate(self, device: str) -> float:
        return self.fleet.devices[device].vitals.link_bytes_per_s or RATE_GUESS
