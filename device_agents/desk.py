"""What is on this device's desk: the attempts it runs, and what it still owes Galaxy about them. Sans-I/O.

    hear(message)          Galaxy said something             -> chores
    progressed(...)        a call tells how far it is        -> chores
    finished(report)       a call has ended                  -> chores
    tick(now)              accept what runs, stop what must  -> chores
    next_deadline()        when tick is next due
    next_stop(...)         when the lease rule is next due: to be looked at before anything else is done or said
    held()                 what to name in the greeting

Chores are what the agent must do: Begin, Halt, Kill, Keep and Say. A report is kept on disk before it is said, and owed
until Galaxy has acknowledged it. A call that is stopped is halted, killed when its grace is over, and given up when not
even that has ended it: then it is `stuck`, and takes up its slot until it has really ended.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

from protocol.messages import (
    Accept,
    AnyMessage,
    Assign,
    Drain,
    Message,
    Progress,
    Reconcile,
    Reject,
    Report,
    Revoke,
    Stopping,
)
from protocol.vocabulary import TEXT_CHARS_MAX, Effect, Failure, Held, Holding, Outcome, Verdict

LOOK_EVERY_S = 1.0  # while something runs
BEGIN_LOOK_S = 0.02  # while something waits to be begun: nothing tells that a renewal was answered
ACCEPT_AFTER_S = 0.05  # what ends sooner is not announced: its report says it all
NOTE_CHARS_MAX = 500
PROGRESS_EVERY_S = 1.0  # of one attempt at most; of what is told in between, the last is said
REPEATABLE = frozenset({Effect.PURE, Effect.IDEMPOTENT})  # any other call is journalled, and never begun twice
GRACE_S = 5.0  # of what the device stops for reasons of its own
LEASE_MARGIN_S_MAX = 2.0  # before a lease runs out: half of it for the call to end by itself, half for its kill
GIVE_UP_AFTER_S = 8.0  # what has not ended so long after its kill cannot be ended from here
RENEWALS_IN_A_LEASE = 3  # so that one may be lost
CUT_OFF = "cut_off"
INSTRUCT = "instruct"  # the tool whose calls go in steps, each of which is journalled as a call is

Steps = tuple[tuple[int, str, str], ...]  # those of an attempt that may not be repeated: number, tool, how it ended


@dataclass(frozen=True, slots=True)
class Begin:
    """Run the call; one that may not be repeated is journalled first."""

    assign: Assign


@dataclass(frozen=True, slots=True)
class Halt:
    """Tell the call to stop, and then say `finished` as ever. It will be killed when `grace_s` are over."""

    attempt: str
    reason: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class Kill:
    """The grace is over: end the call, however it resists, and then say `finished` as ever."""

    attempt: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Write the report down, then say it."""

    report: Report
    journalled: bool


@dataclass(frozen=True, slots=True)
class Say:
    """Say it when there is a session; nothing is lost if there is none."""

    message: Message


Chore = Begin | Halt | Kill | Keep | Say


@dataclass(slots=True)
class Job:
    """An attempt that runs here. Of one in steps, nothing has happened before its first step that counts."""

    assign: Assign
    began_at: float
    begun: bool = True  # else its lease would have been over before: it begins when Galaxy has renewed it
    accepted: bool = False
    halting: str = ""  # why
    halted_at: float = inf
    kill_at: float = inf
    killed_at: float = inf
    revoked: bool = False
    stepped: bool = False  # a step was begun that may not be repeated
    note: str = ""  # the last that was told
    progress: Progress | None = None  # told, and not said yet
    progress_at: float | None = None  # when the last was said

    @property
    def may_be_repeated(self) -> bool:
        if self.assign.effect in REPEATABLE:
            return True
        return self.assign.tool == INSTRUCT and not self.stepped

    @property
    def margin_s(self) -> float:
        return min(LEASE_MARGIN_S_MAX, self.assign.stop_after_s / 4)

    @property
    def lease_s(self) -> float:
        """For how long after a renewal it may run before it must be told to stop."""
        return self.assign.stop_after_s - self.margin_s if self.assign.stop_after_s else inf

    def due_to_die_at(self, renewed_at: float) -> float:
        """When it is killed if it has not ended by itself. A lease that runs out shortens any grace."""
        return min(self.kill_at, renewed_at + self.lease_s + self.margin_s / 2)


class Desk:
    """All attempts that this device answers for."""

    def __init__(self, owed: list[Report]) -> None:
        self.jobs: dict[str, Job] = {}
        self.stuck: set[str] = set()  # reported as such, and perhaps still acting
        self.owed: dict[str, Report] = {report.attempt: report for report in owed}
        self.draining = ""
        self.withdrawn: dict[str, str] = {}  # tools that do not work just now, and why

    def held(self) -> tuple[Held, ...]:
        """Return what this device still answers for."""
        running = (Held(attempt, Holding.RUNNING) for attempt in self.jobs)
        return (*running, *(Held(attempt, _holding_of(report)) for attempt, report in self.owed.items()))

    def hear(
        self, message: AnyMessage, now: float, completed: Report | None = None, *, renewed_at: float = inf
    ) -> list[Chore]:
        """Return what to do about Galaxy's words; `completed` is what the journal knows of an attempt given again."""
        match message:
            case Assign():
                return self._assigned(message, now, completed, renewed_at)
            case Revoke():
                return self._revoked(message, now)
            case Reconcile(attempt=attempt, verdict=Verdict.STOP | Verdict.SUPERSEDED, reason=reason):
                return self._revoked(Revoke(attempt, reason), now)
            case Reconcile(attempt=attempt, verdict=Verdict.ADOPT) if attempt in self.jobs and self.jobs[attempt].begun:
                self.jobs[attempt].accepted = True
                return [Say(Accept(attempt))]
            case Drain(reason=reason):
                self.draining = reason or "draining"
        return []

    def finished(self, report: Report, now: float) -> list[Chore]:
        """Return what to do when a call has ended."""
        if report.attempt in self.stuck:
            self.stuck.remove(report.attempt)
            return []
        return self._kept(report.attempt, lambda job: _as_it_counts(report, job, now))

    def unbegun(self, attempt: str, failure: Failure) -> list[Chore]:
        """Return what to do when a call could not even be begun."""
        del self.jobs[attempt]
        return [Say(Reject(attempt, failure))]

    def progressed(self, attempt: str, note: str, fraction: float | None, now: float) -> list[Chore]:
        """Return what to do when a call tells how far it is."""
        job = self.jobs.get(attempt)
        if job is None:
            return []
        job.note = note[:NOTE_CHARS_MAX].encode("utf-8", "replace").decode()  # lone surrogates cannot be said
        job.progress = Progress(attempt, job.note, fraction)
        return [*self._accept(attempt), *_say_progress(job, now)]

    def stepped(self, attempt: str) -> None:
        """A step of the attempt begins that may not be repeated."""
        if job := self.jobs.get(attempt):
            job.stepped = True

    def acknowledged(self, attempts: list[str]) -> None:
        """Galaxy has these reports; they are owed no more."""
        for attempt in attempts:
            self.owed.pop(attempt, None)

    def said_anew(self) -> list[Message]:
        """Return what a new session must be told that an old one may have swallowed."""
        accepts = [Accept(attempt) for attempt, job in self.jobs.items() if job.accepted]
        stops = [Stopping(attempt) for attempt, job in self.jobs.items() if job.revoked]
        return [*accepts, *stops, *self.owed.values()]

    def drain(self, reason: str) -> list[Chore]:
        """Take no more work; what has not begun does not begin."""
        self.draining = reason
        waiting = [attempt for attempt, job in self.jobs.items() if not job.begun]
        return [Say(Drain(reason)), *(each for name in waiting for each in self.unbegun(name, self._drains()))]

    def stop_all(self, reason: str, now: float) -> list[Chore]:
        """Halt everything that runs."""
        return [chore for job in self.jobs.values() if job.begun for chore in _halt(job, reason, now, GRACE_S)]

    def tick(self, now: float, renewed_at: float) -> list[Chore]:
        """Return what the clock makes due; `renewed_at` is when Galaxy was last known to renew what is held here.

        What must stop comes first.
        """
        chores: list[Chore] = []
        for attempt, job in list(self.jobs.items()):
            is_over = now >= renewed_at + job.lease_s
            if not job.begun:
                if not is_over:
                    job.begun, job.began_at = True, now
                    chores.append(Begin(job.assign))
            elif is_over:
                text = f"Galaxy has not answered for {now - renewed_at:.1f} s, and may give it to another device"
                chores += _halt(job, text, now, max(0.0, job.due_to_die_at(renewed_at) - now))
            if job.halting and job.killed_at == inf and now >= job.due_to_die_at(renewed_at):
                job.killed_at = now
                chores.append(Kill(attempt))
            elif now >= job.killed_at + GIVE_UP_AFTER_S:
                self.stuck.add(attempt)
                chores += self._kept(attempt, lambda job: _given_up(job, now))
        for job in self.jobs.values():
            if job.begun and not job.accepted and now >= job.began_at + ACCEPT_AFTER_S:
                chores += self._accept(job.assign.attempt)
            chores += _say_progress(job, now)
        return chores

    def next_deadline(self, renewed_at: float) -> float | None:
        """Return when `tick` has something to do."""
        dues = (due for job in self.jobs.values() if job.begun for due in _dues(job, renewed_at))
        return min((due for due in dues if due < inf), default=None)

    def next_stop(self, renewed_at: float) -> float:
        """Return when the lease rule next stops something here."""
        return renewed_at + min(
            (job.lease_s for job in self.jobs.values() if job.begun and not job.halting), default=inf
        )

    def must_stop(self, attempt: str, now: float, renewed_at: float) -> bool:
        """Return whether this attempt may not take another step."""
        job = self.jobs.get(attempt)
        return job is not None and not job.halting and now >= renewed_at + job.lease_s

    @property
    def waits(self) -> bool:
        """Whether anything waits to be begun, until Galaxy renews what is held here."""
        return any(not job.begun for job in self.jobs.values())

    @property
    def look_within_s(self) -> float:
        """How soon to look again in any case: timers stand still while the machine sleeps, and leases do not."""
        return BEGIN_LOOK_S if self.waits else LOOK_EVERY_S

    def renew_within_s(self) -> float:
        """Return how often Galaxy must hear of this device at least, for the sake of what it holds."""
        limits = (job.assign.stop_after_s for job in self.jobs.values() if job.assign.stop_after_s)
        return min(limits, default=inf) / RENEWALS_IN_A_LEASE

    def _assigned(self, assign: Assign, now: float, completed: Report | None, renewed_at: float) -> list[Chore]:
        attempt = assign.attempt
        if attempt in self.jobs or attempt in self.owed or attempt in self.stuck:
            return []
        if completed is not None:  # its effect has happened: say so again, and do nothing
            self.owed[attempt] = completed
            return [Keep(completed, journalled=True)]
        if self.draining:
            return [Say(Reject(attempt, self._drains()))]
        if cause := self.withdrawn.get(assign.tool):
            text = f"{assign.tool} does not work on this device just now: {cause}"
            return [Say(Reject(attempt, Failure("tool_withdrawn", text[:TEXT_CHARS_MAX], retryable=True)))]
        job = self.jobs[attempt] = Job(assign, now)
        job.begun = now < renewed_at + job.lease_s
        return [Begin(assign)] if job.begun else []

    def _drains(self) -> Failure:
        return Failure("draining", f"the device takes no more work: {self.draining}", retryable=True)

    def _accept(self, attempt: str) -> list[Chore]:
        job = self.jobs[attempt]
        if job.accepted:
            return []
        job.accepted = True
        return [Say(Accept(attempt))]

    def _revoked(self, revoke: Revoke, now: float) -> list[Chore]:
        job = self.jobs.get(revoke.attempt)
        if job is None:
            return []
        said: list[Chore] = [] if job.revoked else [Say(Stopping(revoke.attempt))]
        job.revoked = True
        if not job.begun:
            failure = Failure("stopped", f"{revoke.reason or 'told to stop'}: it had not begun")
            report = Report(revoke.attempt, Outcome.CANCELLED, failure=failure)
            return [*said, *self._kept(revoke.attempt, lambda _: report)]
        return [*said, *_halt(job, revoke.reason, now, revoke.grace_s)]

    def _kept(self, attempt: str, made: Callable[[Job], Report]) -> list[Chore]:
        job = self.jobs.pop(attempt)
        report = self.owed[attempt] = made(job)
        # The last note on an instruction says what it took, which a report has no place for.
        last = [Say(job.progress)] if job.progress and job.assign.tool == INSTRUCT else []
        return [*last, Keep(report, job.assign.effect not in REPEATABLE)]


def _holding_of(report: Report) -> Holding:
    cut = report.outcome is Outcome.UNKNOWN and report.failure is not None and report.failure.code == CUT_OFF
    return Holding.INTENT if cut else Holding.FINISHED


def _halt(job: Job, reason: str, now: float, grace_s: float) -> list[Chore]:
    """Halt the call, once; a later order may only shorten its grace."""
    job.kill_at = min(job.kill_at, now + grace_s)
    if job.halting:
        return []
    job.halting, job.halted_at = reason or "told to stop", now
    return [Halt(job.assign.attempt, job.halting, grace_s)]


def _dues(job: Job, renewed_at: float) -> Iterator[float]:
    """Yield when `tick` has something to do about the job."""
    if not job.accepted:
        yield job.began_at + ACCEPT_AFTER_S
    if job.progress:
        yield _progress_due_at(job)
    if not job.halting:
        yield renewed_at + job.lease_s
    elif job.killed_at == inf:
        yield job.due_to_die_at(renewed_at)
    else:
        yield job.killed_at + GIVE_UP_AFTER_S


def _progress_due_at(job: Job) -> float:
    return job.began_at if job.progress_at is None else job.progress_at + PROGRESS_EVERY_S


def _say_progress(job: Job, now: float) -> list[Chore]:
    progress = job.progress
    if progress is None or now < _progress_due_at(job):
        return []
    job.progress, job.progress_at = None, now
    return [Say(progress)]


def _as_it_counts(report: Report, job: Job, now: float) -> Report:
    """Return the report with the outcome that a halt gives it, and what had been done by then.

    A call that Galaxy revoked was stopped as wished. One that was cut off otherwise failed, to be tried again; but
    whether one happened that may not be repeated, nobody knows.
    """
    if report.outcome is not Outcome.CANCELLED:
        return report
    if job.killed_at < inf:
        code, how = "killed", f"it was killed {job.killed_at - job.halted_at:.1f} s after it was told to stop"
    else:
        code, how = "stopped", f"it stopped {max(0.0, now - job.halted_at):.1f} s after it was told to"
    ended = f"{how}, having run for {report.ran_s:.1f} s; nothing of it runs here any more"
    outcome = Outcome.CANCELLED
    if not job.revoked:
        outcome = Outcome.FAILED if job.may_be_repeated else Outcome.UNKNOWN
    failure = Failure(code, _told(job, ended), retryable=not job.revoked)
    return Report(report.attempt, outcome, failure=failure, ran_s=report.ran_s)


def _given_up(job: Job, now: float) -> Report:
    """Return the report of a call that goes on although it was killed. It was not stopped, and is not called so."""
    ended = "it does not end, though it was told to and then killed, and may still act; its slot stays taken"
    outcome = Outcome.FAILED if job.may_be_repeated else Outcome.UNKNOWN
    failure = Failure("stop_failed", _told(job, ended), retryable=job.may_be_repeated)
    return Report(job.assign.attempt, outcome, failure=failure, ran_s=now - job.began_at)


def _told(job: Job, ended: str) -> str:
    note = f"; its last note: {job.note}" if job.note else ""
    return f"{job.halting or 'nobody asked it to stop'}: {ended}{note}"[:TEXT_CHARS_MAX]


def cut_off(attempt: str, steps: Steps | None = None) -> Report:
    """Return the report of a journalled call that a crash of this agent cut off.

    One in steps may be begun anew only if none of them was begun that may not be repeated.
    """
    if steps == ():
        failure = Failure(CUT_OFF, "the agent was killed before it did anything that counts", retryable=True)
        return Report(attempt, Outcome.FAILED, failure=failure)
    told = "".join(f"; step {step}, {tool}, {outcome or 'was under way'}" for step, tool, outcome in steps or ())
    failure = Failure(CUT_OFF, f"the agent was killed while the call ran{told}"[:TEXT_CHARS_MAX], retryable=False)
    return Report(attempt, Outcome.UNKNOWN, failure=failure)
