"""What comes out."""

from typing import Any

from pydantic import Field

from .words import JsonObject, Out


class FailureOut(Out):
    code: str
    message: str
    retryable: bool = False


class FailedStarOut(Out):
    star: str
    failure: FailureOut
    handled_by: str | None


class FactOut(Out):
    kind: str
    at: float
    star: str | None


class QuestionOut(Out):
    number: int
    facts: list[FactOut]
    opened_at: float
    deadline_at: float
    held: list[str]
    refusals: list[str]


class ConsultOut(QuestionOut):
    view: dict[str, Any] = Field(description="all that a planner is shown: goal, stars, fleet, grant, revision")


class SpentOut(Out):
    tokens: int
    money: float
    calls: int
    open_calls: int


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
    goal: str | None
    planner: str | None
    question: QuestionOut | None
    answer: Any
    reason: str | None
    spent: SpentOut
    origin: str | None


class CandidateOut(Out):
    device: str
    starts_in_s: float
    held: int
    slots: int
    runs_s: float
    moves_s: float
    behind_s: float
    burden_s: float = Field(description="by which the run counts as longer, for what speaks against the device")
    burden: str | None = Field(description="what that is")


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
    beside: int | None = Field(description="the attempt that it is a second one to")
    stopping: str | None = Field(description="why it was revoked")
    stopping_at: float | None = Field(description="when the device said that it stops it")
    unconfirmed: bool = Field(description="told to stop and silent about it, its device may still act")
    late: str | None = Field(description="what its device said of it after its end")
    placement: PlacementOut
    tools: list[str] = Field(description="that an instruction which names none was given, by its words")


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
    held: bool
    needs_approval: bool


class WeighedOut(Out):
    device: str
    able: bool
    reason: str | None = Field(description="why it cannot take the star")
    starts_in_s: float | None = Field(description="until one of its slots is free")
    moves_s: float | None = Field(description="to bring the inputs there")
    runs_s: float | None = Field(description="the call itself, as far as it is known")
    behind_s: float | None = Field(description="what the stars behind it need from there at best")
    burden_s: float | None = Field(description="by which the call counts as longer, for what speaks against the device")
    burden: str | None = Field(description="what that is")
    score_s: float | None = Field(description="the sum of these")
    held: int | None
    slots: int | None
    calls_seen: int | None = Field(description="on this device, of this tool: what runs_s rests on")


class LastPlaceOut(Out):
    attempt: int
    device: str
    outcome: str | None


class StarPlacementOut(Out):
    constellation: str
    star: str
    state: str
    policy: str
    wait: str | None
    last: LastPlaceOut | None
    devices: list[WeighedOut] = Field(description="all of the fleet; those that are able first, in the policy's order")


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


class _Device(Out):
    id: str
    presence: str
    since: float
    reason: str | None
    draining: str | None
    suspected: str | None = Field(description="why it gets no new work, though it is connected")
    suspected_at: float | None = Field(description="since when")
    wakes_at: float | None = Field(description="when it said that it would be back")
    withdrawn: dict[str, str] = Field(description="tools that do not work just now, with the cause of each")
    joined_at: float
    kind: str | None
    agent: str | None
    slots: int
    held: int
    labels: dict[str, str]
    vitals: dict[str, Any] = Field(description="as last told; null: the device does not know it, or may not tell")


class DeviceBriefOut(_Device):
    tools: list[str] = Field(description="their names; what they do stands with the device itself")


class DeviceToolOut(Out):
    name: str
    description: str
    effect: str
    arguments: JsonObject = Field(description="a JSON Schema")
    result: JsonObject = Field(description="a JSON Schema")
    limits: dict[str, float]


class DeviceOut(_Device):
    tools: list[DeviceToolOut]


class DevicesOut(Out):
    items: list[DeviceBriefOut]


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
    since: float | None = None  # when the trouble began


class ProblemOut(Out):
    """RFC 9457, with a stable `type`, the place of the mistake where there is one, and what to do next."""

    type: str
    title: str
    status: int
    detail: str
    next: str | None = None
    place: str | None = None
    errors: list[dict[str, Any]] | None = None
