"""Everything that can happen to a galaxy. Past tense, frozen, complete.

The log of these events is the galaxy: applying them again, in order, gives back the same state. So an event carries
its own time and everything that was decided, never a live object. Each constellation has a stream of its own, numbered
without gaps; its state is a function of that stream alone. What happens to devices is one more stream, `~fleet`.
"""

from msgspec import Raw, Struct

from protocol.vocabulary import NOTHING, Effect, Failure, Outcome

from .attempt import Candidate, LeaseEnd, Purpose
from .edit import Edit
from .event import FLEET as FLEET
from .event import ConstellationEvent as ConstellationEvent
from .event import Event as Event
from .fleet_events import DeviceAsleep as DeviceAsleep
from .fleet_events import DeviceConnected as DeviceConnected
from .fleet_events import DeviceDisconnected as DeviceDisconnected
from .fleet_events import DeviceDraining as DeviceDraining
from .fleet_events import DeviceJoined as DeviceJoined
from .fleet_events import DeviceLost as DeviceLost
from .fleet_events import DeviceProfiled as DeviceProfiled
from .fleet_events import DeviceRevoked as DeviceRevoked
from .fleet_events import DeviceSuspected as DeviceSuspected
from .fleet_events import DeviceTrusted as DeviceTrusted
from .fleet_events import DeviceVitals as DeviceVitals
from .fleet_events import JoinTokenMinted as JoinTokenMinted
from .fleet_events import NodeStarted as NodeStarted
from .fleet_events import OfConnected as OfConnected
from .fleet_events import OfDevice as OfDevice
from .fleet_events import RuleEnded as RuleEnded
from .fleet_events import RuleMade as RuleMade
from .goal import ConsultEnd, Fact, Goal, Grant, Planning, Usage
from .star import Line, Star
from .states import ConstellationState

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


class StopBegun(ConstellationEvent, frozen=True, kw_only=True):
    """The device is stopping the attempt, as it was told to."""

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
    """A device spoke of an attempt that is over or not its own; nothing followed from it. `said` is what it was."""

    star: str
    attempt: int
    device: str
    reason: str
    said: str = ""


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
    refused: dict[str, str] = {}  # noqa: RUF012  # a Struct copies it
    rule: str = ""  # the standing rule that approved it
    beside: int = 0  # the attempt that it is a second one to
    why: str = ""  # it is made beside that one
    tools: tuple[str, ...] = ()  # that were found by the words of an instruction which names none


class AttemptRevoked(ConstellationEvent, frozen=True, kw_only=True):
    """The attempt is to be stopped, for another attempt at its star goes on."""

    star: str
    attempt: int
    device: str
    reason: str


class StopUnconfirmed(ConstellationEvent, frozen=True, kw_only=True):
    """A device that is there was told to stop the attempt, and has not said in time that it did: it may still act."""

    star: str
    attempt: int
    device: str
    reason: str


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
    counts: dict[str, int] = {}  # noqa: RUF012  # a Struct copies it
    answer: tuple[Raw, ...] = ()  # none or one: the planner's answer to the goal
    reason: str = ""  # of the planner: why it is done, or gave up


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
    | StopBegun
    | StarProgressed
    | StarReported
    | ReportRefused
    | StarLeased
    | AttemptRevoked
    | StopUnconfirmed
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
    | DeviceVitals
    | DeviceDisconnected
    | DeviceSuspected
    | DeviceTrusted
    | DeviceAsleep
    | DeviceLost
    | DeviceDraining
    | DeviceRevoked
    | RuleMade
    | RuleEnded
)
