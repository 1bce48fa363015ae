"""What goes in, with its limits, and what comes out."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from protocol.vocabulary import NAME, Effect

from ..core.condition import CONDITION_CHARS_MAX
from ..core.star import OnFailure, When

STARS_MAX = 100_000
LINES_MAX = 400_000
DAY_S = 86_400.0
WEEK_S = 7 * DAY_S

Name = Annotated[str, StringConstraints(pattern=f"^(?:{NAME.pattern})$")]
ToolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/~-]{0,119}$")]
Text = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]  # no database keeps a NUL in a text
Cel = Annotated[str, StringConstraints(min_length=1, max_length=CONDITION_CHARS_MAX)]
JsonObject = dict[str, JsonValue]


class Strict(BaseModel):
    """What a caller sends: an unknown field is a mistake, and is said to be one."""

    model_config = ConfigDict(extra="forbid")


class NeedsIn(Strict):
    """What a device must have."""

    tools: list[ToolName] = Field(default=[], max_length=50)
    labels: dict[Name, Text] = Field(default={}, max_length=50)
    device: Name | None = None


class RetryIn(Strict):
    """How often to try, and how long to wait between."""

    attempts: int = Field(default=3, ge=1, le=100)
    backoff_s: float = Field(default=1.0, ge=0, le=DAY_S)
    factor: float = Field(default=2.0, ge=1, le=10)
    cap_s: float = Field(default=60.0, ge=0, le=DAY_S)
    jitter: bool = True


class TimeoutsIn(Strict):
    """How long a star may wait for a device, run, and run without progress (0: no limit)."""

    queue_s: float = Field(default=3600.0, ge=0, le=WEEK_S)
    run_s: float = Field(default=300.0, gt=0, le=WEEK_S)
    idle_s: float = Field(default=0.0, ge=0, le=DAY_S)


class DisconnectIn(Strict):
    """What a dropped connection means."""

    lost_after_s: float = Field(default=60.0, gt=0, le=WEEK_S)
    stop_after_s: float | None = Field(default=None, gt=0, le=WEEK_S, description="default: as lost_after_s")


class VerifyIn(Strict):
    """A pure tool call that tells whether the effect of a cut-off attempt happened."""

    tool: ToolName
    arguments: JsonObject = {}
    happened: Cel = Field(description="CEL over the call's `result`")


class StarIn(Strict):
    """One subtask."""

    id: Name
    tool: ToolName
    arguments: JsonObject = Field(
        default={}, description='May hold bindings: {"$from": "star", "pointer": "/json/pointer"}'
    )
    title: Text = ""
    needs: NeedsIn | None = None
    effects: Effect | None = Field(default=None, description="default: what the tool says of itself")
    verify: VerifyIn | None = None
    retry: RetryIn | None = None
    timeouts: TimeoutsIn | None = None
    disconnect: DisconnectIn | None = None
    priority: int = Field(default=0, ge=-1000, le=1000)
    on_failure: OnFailure = OnFailure.FAIL


class LineIn(Strict):
    """A dependency. With a `condition`, `when` may be left out."""

    source: Name
    target: Name
    when: When | None = Field(default=None, description="default: success, or condition where one is given")
    condition: Cel | None = Field(default=None, description="CEL over the source's `result`")


class ConstellationIn(Strict):
    """What is to be run."""

    name: Text = ""
    stars: list[StarIn] = Field(min_length=1)
    lines: list[LineIn] = []


class AddStarIn(Strict):
    op: Literal["add_star"]
    star: StarIn


class RemoveStarIn(Strict):
    op: Literal["remove_star"]
    id: Name


class UpdateStarIn(Strict):
    op: Literal["update_star"]
    star: StarIn


class AddLineIn(Strict):
    op: Literal["add_line"]
    line: LineIn


class RemoveLineIn(Strict):
    op: Literal["remove_line"]
    source: Name
    target: Name


class UpdateLineIn(Strict):
    op: Literal["update_line"]
    line: LineIn


class RetryStarIn(Strict):
    op: Literal["retry"]
    id: Name


class SkipStarIn(Strict):
    op: Literal["skip"]
    id: Name
    reason: Text = ""


class SupersedeIn(Strict):
    op: Literal["supersede"]
    id: Name
    star: StarIn


OperationIn = Annotated[
    AddStarIn
    | RemoveStarIn
    | UpdateStarIn
    | AddLineIn
    | RemoveLineIn
    | UpdateLineIn
    | RetryStarIn
    | SkipStarIn
    | SupersedeIn,
    Field(discriminator="op"),
]


class EditIn(Strict):
    """A batch of changes, accepted whole or refused whole."""

    base: int | None = Field(default=None, ge=1, description="the revision it was made against; or use If-Match")
    operations: list[OperationIn] = Field(min_length=1, max_length=10_000)
    reason: Text = ""


class ReasonIn(Strict):
    """Why, for those who read the history."""

    reason: Text = ""


class JoinTokenIn(Strict):
    """For how long the token may be used, once."""

    minutes: float = Field(default=15.0, gt=0, le=1440)


class JoinIn(Strict):
    """A device's wish to join."""

    token: Annotated[str, StringConstraints(max_length=200)]
    name: Name
    public_key: Annotated[str, StringConstraints(max_length=100)] = Field(
        description="Ed25519, the 32 raw bytes as base64"
    )


class Out(BaseModel):
    """What is answered; more fields may come."""

    model_config = ConfigDict(extra="allow")


class FailureOut(Out):
    code: str
    message: str
    retryable: bool = False


class FailedStarOut(Out):
    star: str
    failure: FailureOut
    handled_by: str | None


class ConstellationBriefOut(Out):
    id: str
    name: str
    state: str
    revision: int
    by: str
    submitted_at: float
    ended_at: float | None
    paused: str | None
    cancelled: str | None
    counts: dict[str, int]
    failures: list[FailedStarOut]


class CandidateOut(Out):
    device: str
    starts_in_s: float
    held: int
    slots: int


class PlacementOut(Out):
    candidates: list[CandidateOut]
    refused: dict[str, str]


class WaitOut(PlacementOut):
    reason: str


class AttemptOut(Out):
    number: int
    device: str
    purpose: str
    effect: str
    leased_at: float
    accepted_at: float | None
    ended_at: float | None
    outcome: str | None
    failure: FailureOut | None
    ran_s: float
    note: str | None
    fraction: float | None
    placement: PlacementOut


class StarOut(Out):
    id: str
    title: str
    tool: str
    arguments: JsonObject
    state: str
    stopping: str | None
    cause: str | None
    result: Any
    failure: FailureOut | None
    attempts: list[AttemptOut]
    wait: WaitOut | None


class LineOut(Out):
    source: str
    target: str
    when: str
    condition: str | None
    implied: bool
    met: bool | None
    error: str | None


class ConstellationOut(ConstellationBriefOut):
    stars: list[StarOut]
    lines: list[LineOut]
    analysis: dict[str, Any] | None = None


class SummaryOut(Out):
    id: str
    name: str
    state: str
    stars: int
    submitted_at: float
    ended_at: float | None


class SummariesOut(Out):
    items: list[SummaryOut]
    next: str | None = Field(description="the `cursor` of the next page")


class SubmittedOut(Out):
    id: str
    name: str
    state: str
    revision: int
    stars: int


class EditedOut(Out):
    id: str
    revision: int


class EventOut(Out):
    seq: int
    kind: str
    at: float


class EventsOut(Out):
    items: list[EventOut]
    next: int = Field(description="the `after` of the next page")


class DeviceOut(Out):
    id: str
    presence: str
    since: float
    reason: str | None
    draining: str | None
    joined_at: float
    kind: str | None
    agent: str | None
    slots: int
    held: int
    labels: dict[str, str]
    tools: list[dict[str, Any]]


class DevicesOut(Out):
    items: list[DeviceOut]


class JoinTokenOut(Out):
    token: str
    expires_at: float


class JoinedOut(Out):
    device: str
    galaxy: str


class ArtifactOut(Out):
    sha256: str
    bytes: int
    complete: bool


class HealthOut(Out):
    status: str
    detail: str | None = None


class ProblemOut(Out):
    """RFC 9457, with a stable `type`, the place of the mistake where there is one, and what to do next."""

    type: str
    title: str
    status: int
    detail: str
    next: str | None = None
    place: str | None = None
    errors: list[dict[str, Any]] | None = None
