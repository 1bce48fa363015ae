"""The desk and a real outbox under any history: redeliveries, revokes, crashes, lost sessions, late answers."""

import tempfile
from collections import Counter
from pathlib import Path

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from device_agents.desk import REPEATABLE, Begin, Desk, Halt, Keep, Kill, Say, cut_off
from device_agents.outbox import Outbox
from protocol.messages import Assign, Reconcile, Report, Revoke, Stopping
from protocol.vocabulary import Effect, Holding, Outcome, Verdict

from .helpers import assign, cancelled, succeeded

_, FINISHED, INTENT = Holding
ATTEMPTS = [f"c/star{n}#1" for n in range(6)]


def is_cut_off(report: Report) -> bool:
    return report.failure is not None and report.failure.code == "cut_off"


class Device(RuleBasedStateMachine):
    """Carries out the desk's chores as the agent does; `begun`, `kept` and `acked` outlive its crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="galaxy-desk-")
        self.now = 0.0
        self.renewed_at = 0.0
        self.assigned: dict[str, Assign] = {}
        self.begun: Counter[str] = Counter()
        self.rerun_allowed: Counter[str] = Counter()
        self.kept: dict[str, Report] = {}  # written down, and not acknowledged
        self.ever_reported: dict[str, list[Report]] = {}
        self.acked: set[str] = set()
        self.halted: set[str] = set()
        self.killed: set[str] = set()
        self.ticked_at = 0.0
        self.running: dict[str, bool] = {}  # attempt -> whether it was told to stop

    @initialize()
    def start(self) -> None:
        self.outbox = Outbox(Path(self.folder.name) / "outbox.db", now=self.now)
        cut = [(cut_off(attempt), True) for attempt in self.outbox.unknown()]
        self.cut = [report.attempt for report, _ in cut]
        if cut:
            self.outbox.keep(cut)
            self._wrote([report for report, _ in cut])
        self.desk = Desk(self.outbox.reports())
        self.said: list[Report] = []
        self._say_anew()

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()

    # what may happen

    @rule(attempt=st.sampled_from(ATTEMPTS), effect=st.sampled_from(Effect), stop_after_s=st.sampled_from([0.0, 5.0]))
    def is_given_work(self, attempt: str, effect: Effect, stop_after_s: float) -> None:
        """A new attempt, or one that was given before: then as it was then."""
        given = self.assigned.setdefault(attempt, assign(attempt, effect, stop_after_s=stop_after_s))
        completed = None if given.effect in REPEATABLE else self.outbox.completed(attempt)
        self._carry_out(self.desk.hear(given, self.now, completed))

    @rule(attempt=st.sampled_from(ATTEMPTS), grace_s=st.sampled_from([0.0, 1.0, 10.0]))
    def is_told_to_stop_one(self, attempt: str, grace_s: float) -> None:
        chores = self.desk.hear(Revoke(attempt, "revoked", grace_s), self.now)
        assert (Say(Stopping(attempt)) in chores) <= (attempt in self.running), "confirmed only where held"
        self._carry_out(chores)

    @rule(attempt=st.sampled_from(ATTEMPTS), verdict=st.sampled_from(Verdict))
    def is_told_what_becomes_of_one(self, attempt: str, verdict: Verdict) -> None:
        self._carry_out(self.desk.hear(Reconcile(attempt, verdict, "reconciled"), self.now))

    @rule(withdrawn=st.booleans())
    def sees_its_tool_fail_or_work_again(self, withdrawn: bool) -> None:
        self.desk.withdrawn = {"test.tool": "it does not work"} if withdrawn else {}

    @rule(slept_s=st.floats(60.0, 3600.0))
    def sleeps(self, slept_s: float) -> None:
        """And looks at the clock when it wakes, before anything else."""
        self.now += slept_s
        self._carry_out(self.desk.tick(self.now, self.renewed_at))
        self.ticked_at = self.now

    @precondition(lambda self: self.desk.stuck)
    @rule(data=st.data())
    def sees_a_call_end_that_it_had_given_up(self, data: st.DataObject) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.desk.stuck)))
        assert self.desk.finished(cancelled(attempt), self.now) == []

    @precondition(lambda self: self.running)
    @rule(data=st.data(), is_kept=st.sampled_from([True, True, True, False]))
    def ends_a_call(self, data: st.DataObject, is_kept: bool) -> None:
        attempt = data.draw(st.sampled_from(sorted(self.running)))
        halted = self.running.pop(attempt)
        report = cancelled(attempt) if halted and data.draw(st.booleans()) else succeeded(attempt)
        chores = self.desk.finished(report, self.now)
        if is_kept:
            self._carry_out(chores)
        else:
            self.crashes()  # between its end and the write

    @rule(passed_s=st.floats(0.0, 10.0), renewed=st.booleans())
    def sees_time_pass(self, passed_s: float, renewed: bool) -> None:
        self.now += passed_s
        self.renewed_at = self.now if renewed else self.renewed_at
        self._carry_out(self.desk.tick(self.now, self.renewed_at))
        self.ticked_at = self.now
        deadline = self.desk.next_deadline(self.renewed_at)
        assert deadline is None or deadline > self.now, "a tick leaves nothing due"

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def is_acknowledged(self, data: st.DataObject) -> None:
        count = data.draw(st.integers(1, len(self.said)))
        done, self.said = [report.attempt for report in self.said[:count]], self.said[count:]
        self.desk.acknowledged(done)
        self.outbox.forget(done)
        for attempt in done:
            self.acked.add(attempt)
            self.kept.pop(attempt, None)

    @rule()
    def begins_a_new_session(self) -> None:
        self._say_anew()

    @rule()
    def crashes(self) -> None:
        """What was only in memory is gone: calls that ran, and what was forgotten but not yet on disk."""
        cut_off_now = {a for a in self.begun if self.outbox_is_open_about(a)}
        for attempt in self.begun:
            self.rerun_allowed[attempt] = self.begun[attempt]
        self.running.clear()
        del self.outbox
        self.start()
        assert set(self.cut) == cut_off_now

    @rule()
    def is_restarted(self) -> None:
        self.outbox.flush()
        self.crashes()

    # what must hold

    @invariant()
    def nothing_that_may_not_be_repeated_is_begun_twice(self) -> None:
        for attempt, times in self.begun.items():
            assert times == 1 or self.assigned[attempt].effect in REPEATABLE, attempt

    @invariant()
    def nothing_is_begun_again_while_it_is_held(self) -> None:
        for attempt, times in self.begun.items():
            assert times <= self.rerun_allowed[attempt] + 1, attempt

    @invariant()
    def what_was_written_is_owed_until_it_is_acknowledged(self) -> None:
        assert self.kept.items() <= self.desk.owed.items()
        assert self.desk.owed.keys() <= self.kept.keys() | self.acked

    @invariant()
    def what_is_owed_was_said_in_this_session(self) -> None:
        assert {report.attempt for report in self.said} >= self.desk.owed.keys()

    @invariant()
    def nothing_runs_unhalted_beyond_its_lease_once_the_clock_was_looked_at(self) -> None:
        late = [job for job in self.desk.jobs.values() if self.ticked_at >= self.renewed_at + (job.lease_s)]
        assert all(job.halting or job.began_at >= self.ticked_at for job in late)

    @invariant()
    def what_is_killed_was_halted_and_what_is_stuck_was_killed(self) -> None:
        assert self.killed <= self.halted
        assert self.desk.stuck <= self.killed

    @invariant()
    def held_is_what_runs_and_what_is_owed(self) -> None:
        held = {each.attempt: each.holding for each in self.desk.held()}
        running = dict.fromkeys(self.running, Holding.RUNNING)
        owed = {attempt: INTENT if is_cut_off(report) else FINISHED for attempt, report in self.desk.owed.items()}
        assert held == running | owed

    @invariant()
    def what_may_not_be_repeated_has_one_report_however_often_it_is_said(self) -> None:
        for attempt, reports in self.ever_reported.items():
            if self.assigned[attempt].effect not in REPEATABLE:
                assert len({msgspec.json.encode(report) for report in reports}) == 1, reports

    # how chores are carried out

    def outbox_is_open_about(self, attempt: str) -> bool:
        return attempt in self.outbox.unknown()

    def _carry_out(self, chores: list) -> None:
        for chore in chores:
            match chore:
                case Begin(given):
                    if given.effect not in REPEATABLE:
                        self.outbox.intend(given.attempt, self.now)
                    self.begun[given.attempt] += 1
                    self.running[given.attempt] = False
                case Halt(attempt):
                    assert self.running[attempt] is False, "halted once"
                    self.running[attempt] = True
                    self.halted.add(attempt)
                case Kill(attempt):
                    self.killed.add(attempt)
                case Keep(report, journalled):
                    if report.attempt in self.desk.stuck:
                        assert report.outcome is not Outcome.CANCELLED
                        self.running.pop(report.attempt)
                    self.outbox.keep([(report, journalled)])
                    self._wrote([report])
                    self.said.append(report)
                case Say():
                    pass

    def _wrote(self, reports: list[Report]) -> None:
        for report in reports:
            self.rerun_allowed[report.attempt] = self.begun[report.attempt]
            assert report.outcome is not Outcome.CANCELLED or report.attempt in self.assigned
            self.kept[report.attempt] = report
            self.acked.discard(report.attempt)
            self.ever_reported.setdefault(report.attempt, []).append(report)

    def _say_anew(self) -> None:
        self.said = [message for message in self.desk.said_anew() if isinstance(message, Report)]


Device.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestAnyHistory = Device.TestCase
