"""The course of a star: how far it is, what was tried, what came of it."""

from msgspec import Raw, Struct

from protocol.vocabulary import Effect, Failure

from .attempt import Attempt, Purpose
from .star import Star
from .states import HELD_BY_DEVICE, WAITING, StarState

VERIFICATIONS_MAX = 3


class Approval(Struct, omit_defaults=True, gc=False):
    """What a person was asked before one call, and whether they said yes."""

    attempt: int
    device: str
    tool: str
    arguments: Raw
    effect: Effect
    asked_at: float
    expires_at: float
    given_by: str = ""

    def holds_for(self, attempt: int, device: str, tool: str, arguments: Raw, at: float) -> bool:
        """Return whether this very call was approved, and still is."""
        asked = (self.attempt, self.device, self.tool, bytes(self.arguments))
        return bool(self.given_by) and at < self.expires_at and asked == (attempt, device, tool, bytes(arguments))


class Course(Struct, omit_defaults=True, gc=False):
    """Everything about a star that is not as written. Only its constellation changes it."""

    star: Star
    state: StarState = WAITING
    attempts: list[Attempt] = []
    results: tuple[Raw, ...] = ()  # none or one: `Raw | None` cannot be read back, as null is raw JSON too
    failure: Failure | None = None  # the last one, also while another attempt is to come
    cause: str = ""  # why it was skipped or cancelled
    undecided: int = 0  # lines that lead here and are not decided yet
    ready_at: float = 0.0
    ended_at: float | None = None
    not_before: float = 0.0  # back-off; 0: none
    failures: int = 0  # attempts that count against the retry policy
    granted: int = 0  # attempts that people granted beyond it
    failure_held: bool = False  # its last failure waits for a person, or for the planner
    holds: int = 0  # open questions whose answer it waits for
    approval: Approval | None = None  # asked, or given, for the next attempt
    revision: int = 0  # at which it, or a line to it, was last changed
    stopping: str = ""  # why it is to end as soon as no device holds it
    verifying: bool = False  # the next attempt asks whether the last one's effect happened
    verifications: int = 0
    proofs: tuple[Raw, ...] = ()  # none or one: what a verification found, to be judged

    @property
    def result(self) -> Raw | None:
        """What the star's success brought; it may be a raw null."""
        return self.results[0] if self.results else None

    @property
    def proof(self) -> Raw | None:
        """What a verification found, where it is to be judged."""
        return self.proofs[0] if self.proofs else None

    @property
    def open(self) -> list[Attempt]:
        """The attempts that a device holds: one, or two where a second was made beside the first."""
        return [attempt for attempt in self.attempts if attempt.ended_at is None]

    @property
    def attempt(self) -> Attempt | None:
        """The attempt that the star runs by: the last that is not being stopped, where there is one."""
        if self.state not in HELD_BY_DEVICE:
            return None
        held = self.open
        return next((attempt for attempt in reversed(held) if not attempt.stopping), held[-1])

    def holding(self, number: int) -> Attempt | None:
        """Return the attempt of this number, if a device holds it; also one that the star's end has left behind."""
        if not 0 < number <= len(self.attempts) or self.attempts[number - 1].ended_at is not None:
            return None
        return self.attempts[number - 1]

    def stop(self, why: str) -> None:
        """Let every attempt be stopped, and the star end with them."""
        self.stopping = self.stopping or why
        for attempt in self.open:
            attempt.stopping = attempt.stopping or why

    @property
    def purpose(self) -> Purpose:
        """What the next attempt is for."""
        return Purpose.VERIFY if self.verifying else Purpose.RUN

    @property
    def last_run(self) -> Attempt | None:
        """The last attempt at the star itself."""
        return next((a for a in reversed(self.attempts) if a.purpose is Purpose.RUN), None)

    def placeable(self, paused: bool) -> bool:
        """Whether a device could be given the star now, but for its back-off."""
        return (
            self.state is StarState.READY
            and not paused
            and not self.failure_held
            and not self.holds
            and not self.proofs
            and not self.needs_approval
        )

    @property
    def needs_approval(self) -> bool:
        """Whether a person was asked about the next attempt and has not answered."""
        return self.approval is not None and not self.approval.given_by

    def failed_on(self) -> frozenset[str]:
        """The devices on which an attempt at the star itself failed."""
        if not self.failures:
            return frozenset()
        return frozenset(a.device for a in self.attempts if a.failure is not None and a.purpose is Purpose.RUN)
