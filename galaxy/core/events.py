"""Everything that can happen to a galaxy. Past tense, frozen, complete.

The log of these events is the galaxy: applying them again, in order, gives back the same state. So an event carries
its own time and everything that was decided, never a live object. Each constellation has a stream of its own, numbered
without gaps; its state is a function of that stream alone. What happens to devices is one more stream, `~fleet`.
"""

from msgspec import Raw, Struct

from protocol.vocabulary import NOTHING, Effect, Failure, Held, Outcome, Profile

from .attempt import Candidate, LeaseEnd, Purpose
from .edit import Edit, tag_of
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


class ConstellationSubmitted(ConstellationEvent, frozen=True, kw_only=True):
    name: str
    stars: tuple[Star, ...]
    lines: tuple[Line, ...] = ()
    by: str = ""


class ConstellationEdited(ConstellationEvent, frozen=True, kw_only=True):
    base: int  # the revision that the edit was made against
    edit: Edit
    by: str = ""


class ConstellationPaused(ConstellationEvent, frozen=True, kw_only=True):
    reason: str
    by: str = ""


class ConstellationResumed(ConstellationEvent, frozen=True, kw_only=True):
    by: str = ""


class CancelRequested(ConstellationEvent, frozen=True, kw_only=True):
    reason: str
    by: str = ""


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


AnyEvent = (
    ConstellationSubmitted
    | ConstellationEdited
    | ConstellationPaused
    | ConstellationResumed
    | CancelRequested
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
)
