"""Everything that can happen to a galaxy. Past tense, frozen, complete.

The log of these events is the galaxy: applying them again, in order, gives back the same state. So an event carries
its own time and everything that was decided, never a live object. Each constellation has a stream of its own, numbered
without gaps; its state is a function of that stream alone. What happens to devices is one more stream, `~fleet`.
"""

from msgspec import Raw, Struct

from protocol.vocabulary import NOTHING, Effect, Failure, Held, Outcome, Profile

from .attempt import Candidate, LeaseEnd, Purpose
from .edit import Edit, tag_of
from .goal import ConsultEnd, Fact, Goal, Grant, Planning, Usage
from .star import Line, Star
from .states import ConstellationState

FLEET = "~fleet"


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="kind", tag=tag_of):
    """A fact. `at` is in seconds since the epoch, by the composition root's clock."""

    at: float


class ConstellationEvent(Event, frozen=True, kw_only=True):
    """A fact about one constellation."""

    constellation: str


# What people and planners did.


class Kept(Struct, frozen=True):
    """A star whose result is taken over from the constellation that this one was forked from."""

    star: str
    result: Raw


class ConstellationSubmitted(ConstellationEvent, frozen=True, kw_only=True):
    name: str
    stars: tuple[Star, ...] = ()
    lines: tuple[Line, ...] = ()
    by: str = ""
    goal: Goal | None = None
    planning: Planning = Planning()
    grant: Grant = Grant()
    kept: tuple[Kept, ...] = ()
    origin: str = ""  # the constellation, and the revision of it, that this one was forked from


class ConstellationEdited(ConstellationEvent, frozen=True, kw_only=True):
    """With `rebase`, it stands although there are later revisions: what it names has not changed since `base`."""

    base: int  # the revision that the edit was made against
    edit: Edit
    by: str = ""
    consult: int = 0  # the question that it answers
    rebase: bool = False


class ConstellationPaused(ConstellationEvent, frozen=True, kw_only=True):
    reason: str
    by: str = ""


class ConstellationResumed(ConstellationEvent, frozen=True, kw_only=True):
    by: str = ""


class CancelRequested(ConstellationEvent, frozen=True, kw_only=True):
    reason: str
    by: str = ""


# What passed between a constellation and its planner.


class ConsultOpened(ConstellationEvent, frozen=True, kw_only=True):
    """The planner is asked; what waits for its answer is held from the facts on."""

    consult: int
    planner: str
    facts: tuple[Fact, ...]
    deadline_at: float


class AnswerRefused(ConstellationEvent, frozen=True, kw_only=True):
    """An answer was not acceptable; the reason goes back to the planner, if the question is still open."""

    consult: int
    reason: str
    by: str = ""


class ConsultClosed(ConstellationEvent, frozen=True, kw_only=True):
    """The question ended without an answer that counts."""

    consult: int
    end: ConsultEnd
    reason: str = ""
    by: str = ""


class GoalReached(ConstellationEvent, frozen=True, kw_only=True):
    """The planner is done. `answer` may hold bindings; what was not started is no longer needed."""

    consult: int
    answer: Raw
    despite: tuple[str, ...] = ()
    reason: str = ""
    by: str = ""


class GoalGivenUp(ConstellationEvent, frozen=True, kw_only=True):
    consult: int
    reason: str
    by: str = ""


class UsageReserved(ConstellationEvent, frozen=True, kw_only=True):
    """What a call of a model may cost is set aside before it is made; for a question, or for a star's attempt."""

    call: str
    tokens: int
    money: float = 0.0
    consult: int = 0
    star: str = ""
    attempt: int = 0


class UsageSettled(ConstellationEvent, frozen=True, kw_only=True):
    """What the call did cost. A reservation that is never settled counts as spent."""

    call: str
    usage: Usage
    consult: int = 0
    star: str = ""
    attempt: int = 0


class PlannerThought(ConstellationEvent, frozen=True, kw_only=True):
    """What a model let be seen of its reasoning; nothing follows from it."""

    consult: int
    text: str


# What people are asked before a call is made.


class ApprovalRequested(ConstellationEvent, frozen=True, kw_only=True):
    """This very call, by this attempt on this device, waits for a person."""

    star: str
    attempt: int
    device: str
    tool: str
    arguments: Raw
    effect: Effect
    expires_at: float


class ApprovalGiven(ConstellationEvent, frozen=True, kw_only=True):
    star: str
    attempt: int
    by: str
    reason: str = ""
    rule: str = ""  # the standing rule that said so
    asked_at: float = 0.0  # when the question was put that this answers; 0: the one that is open


class ApprovalDenied(ConstellationEvent, frozen=True, kw_only=True):
    star: str
    attempt: int
    by: str
    reason: str = ""
    asked_at: float = 0.0  # as above


class ApprovalLapsed(ConstellationEvent, frozen=True, kw_only=True):
    """The device that a person was asked about will not make the call: wherever it is made, it is asked about anew."""

    star: str
    attempt: int
    device: str
    reason: str


# What devices said.


class StarAccepted(ConstellationEvent, frozen=True, kw_only=True):
    star: str
    attempt: int
    device: str


class StarProgressed(ConstellationEvent, frozen=True, kw_only=True):
    star: str
    attempt: int
    device: str
    note: str
    fraction: float | None = None


class StarReported(ConstellationEvent, frozen=True, kw_only=True):
    star: str
    attempt: int
    device: str
    outcome: Outcome
    result: Raw = NOTHING
    failure: Failure | None = None
    ran_s: float = 0.0


class ReportRefused(ConstellationEvent, frozen=True, kw_only=True):
    """A device spoke of an attempt that is over or not its own; nothing followed from it."""

    star: str
    attempt: int
    device: str
    reason: str


# What the core decided, or the clock made true.


class StarLeased(ConstellationEvent, frozen=True, kw_only=True):
    """One device got the right to one attempt; `candidates` (the best first) and `refused` say why this one."""

    star: str
    attempt: int
    device: str
    effect: Effect
    purpose: Purpose = Purpose.RUN
    waited_s: float = 0.0  # since the star was ready
    candidates: tuple[Candidate, ...] = ()
    refused: dict[str, str] = {}
    rule: str = ""  # the standing rule that approved it


class LeaseEnded(ConstellationEvent, frozen=True, kw_only=True):
    star: str
    attempt: int
    device: str
    cause: LeaseEnd
    failure: Failure


class StarFailed(ConstellationEvent, frozen=True, kw_only=True):
    """A star that no device holds can no longer succeed."""

    star: str
    failure: Failure


class LineJudged(ConstellationEvent, frozen=True, kw_only=True):
    source: str
    target: str
    met: bool
    error: str = ""


class EffectJudged(ConstellationEvent, frozen=True, kw_only=True):
    """A verification told whether the effect of a cut-off attempt happened; with `error`, it could not."""

    star: str
    attempt: int
    happened: bool
    error: str = ""


class FailedStar(Struct, frozen=True, omit_defaults=True):
    """A star that failed, why, and the star behind a `failure` line that made up for it, if one did."""

    star: str
    failure: Failure
    handled_by: str = ""


class ConstellationEnded(ConstellationEvent, frozen=True, kw_only=True):
    state: ConstellationState
    failures: tuple[FailedStar, ...] = ()
    counts: dict[str, int] = {}
    answer: tuple[Raw, ...] = ()  # none or one: the planner's answer to the goal
    reason: str = ""  # of the planner: why it is done, or gave up


# The fleet.


class NodeStarted(Event, frozen=True, kw_only=True):
    """No device has a session with this node yet."""


class JoinTokenMinted(Event, frozen=True, kw_only=True):
    digest: str
    expires_at: float
    by: str = ""


class DeviceJoined(Event, frozen=True, kw_only=True):
    device: str
    public_key: str
    token_digest: str


class DeviceConnected(Event, frozen=True, kw_only=True):
    """A device proved its key. Unless it resumed its session, `held` is all that it still answers for."""

    device: str
    boot: str
    profile: Profile
    resumed: bool = False
    held: tuple[Held, ...] = ()


class DeviceProfiled(Event, frozen=True, kw_only=True):
    device: str
    profile: Profile


class DeviceDisconnected(Event, frozen=True, kw_only=True):
    device: str
    reason: str


class DeviceDraining(Event, frozen=True, kw_only=True):
    device: str
    reason: str
    by: str = ""


class DeviceRevoked(Event, frozen=True, kw_only=True):
    device: str
    reason: str
    by: str = ""


class RuleMade(Event, frozen=True, kw_only=True):
    """A person approves calls like these in advance, until then."""

    rule: str
    tool: str
    pattern: Raw  # JSON: what the arguments must look like; in a text, * stands for any characters
    device: str = ""  # empty: any
    expires_at: float
    by: str


class RuleEnded(Event, frozen=True, kw_only=True):
    rule: str
    by: str = ""


AnyEvent = (
    ConstellationSubmitted
    | ConstellationEdited
    | ConstellationPaused
    | ConstellationResumed
    | CancelRequested
    | ConsultOpened
    | AnswerRefused
    | ConsultClosed
    | GoalReached
    | GoalGivenUp
    | UsageReserved
    | UsageSettled
    | PlannerThought
    | ApprovalRequested
    | ApprovalGiven
    | ApprovalDenied
    | ApprovalLapsed
    | StarAccepted
    | StarProgressed
    | StarReported
    | ReportRefused
    | StarLeased
    | LeaseEnded
    | StarFailed
    | LineJudged
    | EffectJudged
    | ConstellationEnded
    | NodeStarted
    | JoinTokenMinted
    | DeviceJoined
    | DeviceConnected
    | DeviceProfiled
    | DeviceDisconnected
    | DeviceDraining
    | DeviceRevoked
    | RuleMade
    | RuleEnded
)
