"""What is on this device's desk: the attempts it runs, and what it still owes Galaxy about them. Sans-I/O.

    hear(message)          Galaxy said something             -> chores
    progressed(...)        a call tells how far it is        -> chores
    finished(report)       a call has ended                  -> chores
    tick(now)              accept what runs, stop what must  -> chores
    next_deadline()        when tick is next due
    held()                 what to name in the greeting

Chores are what the agent must do: Begin, Halt, Keep and Say. A report is kept on disk before it is said, and owed until
Galaxy has acknowledged it.
"""

from dataclasses import dataclass

from protocol.messages import Accept, AnyMessage, Assign, Drain, Message, Progress, Reconcile, Reject, Report, Revoke
from protocol.vocabulary import TEXT_CHARS_MAX, Effect, Failure, Held, Holding, Outcome, Verdict

ACCEPT_AFTER_S = 0.05  # what ends sooner is not announced: its report says it all
NOTE_CHARS_MAX = 500
PROGRESS_EVERY_S = 1.0  # of one attempt at most; of what is told in between, the last is said
REPEATABLE = frozenset({Effect.PURE, Effect.IDEMPOTENT})  # any other call is journalled, and never begun twice
INSTRUCT = "instruct"  # the tool whose calls go in steps, each of which is journalled as a call is

Steps = tuple[tuple[int, str, str], ...]  # those of an attempt that may not be repeated: number, tool, how it ended


@dataclass(frozen=True, slots=True)
class Begin:
    """Run the call; one that may not be repeated is journalled first."""

    assign: Assign


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the call, and then say `finished` as ever."""

    attempt: str
    reason: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Write the report down, then say it."""

    report: Report
    journalled: bool


@dataclass(frozen=True, slots=True)
class Say:
    """Say it when there is a session; nothing is lost if there is none."""

    message: Message


Chore = Begin | Halt | Keep | Say


@dataclass(slots=True)
class Job:
    """An attempt that runs here. Of one in steps, nothing has happened before its first step that counts."""

    assign: Assign
    began_at: float
    accepted: bool = False
    halting: str = ""
    revoked: bool = False
    stepped: bool = False  # a step was begun that may not be repeated
    progress: Progress | None = None  # told, and not said yet
    progress_at: float | None = None  # when the last was said

    @property
    def may_be_repeated(self) -> bool:
        if self.assign.effect in REPEATABLE:
            return True
        return self.assign.tool == INSTRUCT and not self.stepped


class Desk:
    """All attempts that this device answers for."""

    def __init__(self, owed: list[Report]) -> None:
        self.jobs: dict[str, Job] = {}
        self.owed: dict[str, Report] = {report.attempt: report for report in owed}
        self.draining = ""

    def held(self) -> tuple[Held, ...]:
        """Return what this device still answers for."""
        running = (Held(attempt, Holding.RUNNING) for attempt in self.jobs)
        finished = (Held(attempt, Holding.FINISHED) for attempt in self.owed)
        return (*running, *finished)

    def hear(self, message: AnyMessage, now: float, completed: Report | None = None) -> list[Chore]:
        """Return what to do about Galaxy's words; `completed` is what the journal knows of an attempt given again."""
        match message:
            case Assign():
                return self._assigned(message, now, completed)
            case Revoke(attempt=attempt, reason=reason):
                return self._halt(attempt, reason, revoked=True)
            case Reconcile(verdict=Verdict.STOP | Verdict.SUPERSEDED, attempt=attempt, reason=reason):
                return self._halt(attempt, reason, revoked=True)
            case Drain(reason=reason):
                self.draining = reason or "draining"
        return []

    def finished(self, report: Report) -> list[Chore]:
        """Return what to do when a call has ended."""
        job = self.jobs.pop(report.attempt)
        report = _as_it_counts(report, job)
        self.owed[report.attempt] = report
        # The last note on an instruction says what it took, which a report has no place for.
        last = [Say(job.progress)] if job.progress and job.assign.tool == INSTRUCT else []
        return [*last, Keep(report, job.assign.effect not in REPEATABLE)]

    def unbegun(self, attempt: str, failure: Failure) -> list[Chore]:
        """Return what to do when a call could not even be begun."""
        del self.jobs[attempt]
        return [Say(Reject(attempt, failure))]

    def progressed(self, attempt: str, note: str, fraction: float | None, now: float) -> list[Chore]:
        """Return what to do when a call tells how far it is."""
        job = self.jobs.get(attempt)
        if job is None:
            return []
        note = note[:NOTE_CHARS_MAX].encode("utf-8", "replace").decode()  # no lone surrogates: they cannot be said
        job.progress = Progress(attempt, note, fraction)
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
        return [*accepts, *self.owed.values()]

    def drain(self, reason: str) -> list[Chore]:
        """Take no more work."""
        self.draining = reason
        return [Say(Drain(reason))]

    def stop_all(self, reason: str) -> list[Chore]:
        """Halt everything that runs."""
        return [chore for attempt in list(self.jobs) for chore in self._halt(attempt, reason, revoked=False)]

    def tick(self, now: float, renewed_at: float) -> list[Chore]:
        """Return what the clock makes due; `renewed_at` is when Galaxy was last known to renew what is held here."""
        chores: list[Chore] = []
        for attempt, job in list(self.jobs.items()):
            if not job.accepted and now >= job.began_at + ACCEPT_AFTER_S:
                chores += self._accept(attempt)
            chores += _say_progress(job, now)
            stop_after_s = job.assign.stop_after_s
            if stop_after_s and now >= renewed_at + stop_after_s:
                chores += self._halt(attempt, f"nothing heard from Galaxy for {stop_after_s:g} s", revoked=False)
        return chores

    def next_deadline(self, renewed_at: float) -> float | None:
        """Return when `tick` has something to do."""
        accepts = [job.began_at + ACCEPT_AFTER_S for job in self.jobs.values() if not job.accepted]
        notes = [_progress_due_at(job) for job in self.jobs.values() if job.progress]
        stops = [
            renewed_at + job.assign.stop_after_s
            for job in self.jobs.values()
            if job.assign.stop_after_s and not job.halting
        ]
        return min((*accepts, *notes, *stops), default=None)

    def _assigned(self, assign: Assign, now: float, completed: Report | None) -> list[Chore]:
        attempt = assign.attempt
        if attempt in self.jobs or attempt in self.owed:
            return []
        if completed is not None:  # its effect has happened: say so again, and do nothing
            self.owed[attempt] = completed
            return [Keep(completed, journalled=True)]
        if self.draining:
            failure = Failure("draining", f"the device takes no more work: {self.draining}", retryable=True)
            return [Say(Reject(attempt, failure))]
        self.jobs[attempt] = Job(assign, now)
        return [Begin(assign)]

    def _accept(self, attempt: str) -> list[Chore]:
        job = self.jobs[attempt]
        if job.accepted:
            return []
        job.accepted = True
        return [Say(Accept(attempt))]

    def _halt(self, attempt: str, reason: str, *, revoked: bool) -> list[Chore]:
        job = self.jobs.get(attempt)
        if job is None:
            return []
        job.revoked = job.revoked or revoked
        if job.halting:
            return []
        job.halting = reason or "told to stop"
        return [Halt(attempt, job.halting)]


def _progress_due_at(job: Job) -> float:
    return job.began_at if job.progress_at is None else job.progress_at + PROGRESS_EVERY_S


def _say_progress(job: Job, now: float) -> list[Chore]:
    progress = job.progress
    if progress is None or now < _progress_due_at(job):
        return []
    job.progress, job.progress_at = None, now
    return [Say(progress)]


def _as_it_counts(report: Report, job: Job) -> Report:
    """Return the report with the outcome that a halt gives it.

    A call that Galaxy revoked was stopped as wished. One that was cut off otherwise failed, to be tried again; but
    whether one happened that may not be repeated, nobody knows.
    """
    if report.outcome is not Outcome.CANCELLED:
        return report
    if job.revoked:
        return report
    failure = Failure("stopped", f"the device stopped it: {job.halting or 'unasked'}", retryable=True)
    outcome = Outcome.FAILED if job.may_be_repeated else Outcome.UNKNOWN
    return Report(report.attempt, outcome, failure=failure, ran_s=report.ran_s)


def cut_off(attempt: str, steps: Steps | None = None) -> Report:
    """Return the report of a journalled call that a crash of this agent cut off.

    One in steps may be begun anew only if none of them was begun that may not be repeated.
    """
    if steps == ():
        failure = Failure("cut_off", "the agent was killed before it did anything that counts", retryable=True)
        return Report(attempt, Outcome.FAILED, failure=failure)
    told = "".join(f"; step {step}, {tool}, {outcome or 'was under way'}" for step, tool, outcome in steps or ())
    failure = Failure("cut_off", f"the agent was killed while the call ran{told}"[:TEXT_CHARS_MAX], retryable=False)
    return Report(attempt, Outcome.UNKNOWN, failure=failure)
