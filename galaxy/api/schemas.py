"""What goes in, with its limits."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints

from protocol.vocabulary import Effect

from ..core.goal import ConsultWhen
from ..core.star import OnFailure, OnSuccess, Reconcile, When
from .words import DAY_S, STARS_MAX, WEEK_S, Cel, JsonObject, Name, Strict, Text, ToolName


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
    replace: bool | None = Field(
        default=None, description="start a substitute elsewhere meanwhile; default: if the call is pure"
    )
    reconcile: Reconcile = Field(
        default=Reconcile.FIRST_RESULT, description="which attempt goes on when the device is back beside a substitute"
    )


class VerifyIn(Strict):
    """A pure tool call that tells whether the effect of a cut-off attempt happened."""

    tool: ToolName
    arguments: JsonObject = Field(default={})
    happened: Cel = Field(description="CEL over the call's `result`")


class InstructionIn(Strict):
    """A subtask in words, for the device's own model."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    tips: Annotated[str, StringConstraints(max_length=20_000)] = ""
    tools: list[ToolName] | None = Field(
        default=None,
        max_length=50,
        description="that the model may call, and no others. Not said: those that fit its words where it is placed",
    )
    steps_max: int = Field(default=20, ge=1, le=200)
    tokens_max: int = Field(default=50_000, ge=100, le=10_000_000)
    output: JsonObject = Field(default={}, description="the JSON Schema that the result must fit")


class FallbackIn(Strict):
    """Another tool call that does as well, for when the star's own has failed for good."""

    tool: ToolName
    arguments: JsonObject = Field(default={})


class StarIn(Strict):
    """One subtask: a tool call, or an instruction."""

    id: Name
    tool: ToolName | None = Field(default=None, description="needed unless there is an `instruction`")
    instruction: InstructionIn | None = None
    arguments: JsonObject = Field(
        default={},
        description='May hold bindings: {"$from": "star", "pointer": "/json/pointer"}; or {"$text": ["so ", binding]}',
    )
    title: Text = ""
    needs: NeedsIn | None = None
    effects: Effect | None = Field(default=None, description="default: what the tool says of itself")
    verify: VerifyIn | None = None
    retry: RetryIn | None = None
    timeouts: TimeoutsIn | None = None
    disconnect: DisconnectIn | None = None
    priority: int = Field(default=0, ge=-1000, le=1000)
    on_failure: OnFailure | None = Field(default=None, description="default: as the constellation's `planning` says")
    on_success: OnSuccess | None = Field(default=None, description="`consult`: what is behind it waits for the planner")
    fallback: FallbackIn | None = None
    needs_approval: bool = Field(default=False, description="a person is asked before each attempt")
    hedge: bool = Field(default=False, description="a pure call that is slow gets a second attempt elsewhere")


class LineIn(Strict):
    """A dependency. With a `condition`, `when` may be left out."""

    source: Name
    target: Name
    when: When | None = Field(default=None, description="default: success, or condition where one is given")
    condition: Cel | None = Field(default=None, description="CEL over the source's `result`")


class ContextIn(Strict):
    """Something that the planner should know: a text, or an artifact."""

    name: Text
    text: Annotated[str, StringConstraints(max_length=100_000)] = ""
    artifact: Annotated[str, StringConstraints(pattern="^([0-9a-f]{64})?$")] = Field(default="", description="SHA-256")


class GoalIn(Strict):
    """What is wanted, in words."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
    context: list[ContextIn] = Field(default=[], max_length=50)
    deadline_s: float = Field(default=0.0, ge=0, le=WEEK_S, description="since it was submitted; 0: none")


class PlanningIn(Strict):
    """Who plans, when it is asked, and how far it may go."""

    planner: Name = Field(default="outline", description="outline, llm, repair, or external: whoever answers by REST")
    when: ConsultWhen = ConsultWhen.ON_FAILURE
    repair: bool = Field(default=True, description="the rules of `repair` are asked first")
    answer_within_s: float = Field(default=120.0, gt=0, le=DAY_S)
    debounce_s: float = Field(default=0.25, ge=0, le=60)
    consults_max: int = Field(default=50, ge=1, le=10_000)
    rounds_max: int = Field(default=3, ge=1, le=20)
    additions_max: int = Field(default=1_000, ge=0, le=STARS_MAX)


class BudgetIn(Strict):
    """What models may cost in all; 0 is no limit."""

    tokens: int = Field(default=0, ge=0, le=10**12)
    money: float = Field(default=0.0, ge=0, le=1e9)
    calls: int = Field(default=0, ge=0, le=10**6)


class ConstraintsIn(Strict):
    """What the constellation may use, whoever edits it; empty is everything."""

    tools: list[ToolName] = Field(default=[], max_length=500)
    devices: list[Name] = Field(default=[], max_length=10_000)
    budget: BudgetIn = BudgetIn()
    approve: list[Effect] = Field(default=[], max_length=4, description="calls of these classes wait for a person")
    approval_within_s: float = Field(default=DAY_S, gt=0, le=WEEK_S)


class ConstellationIn(Strict):
    """What is to be run: stars, or a goal for a planner to draw them."""

    name: Text = ""
    goal: GoalIn | None = None
    planning: PlanningIn | None = Field(default=None, description="default: `outline` for a goal, else nobody is asked")
    constraints: ConstraintsIn | None = None
    stars: list[StarIn] = Field(default=[])
    lines: list[LineIn] = Field(default=[])


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
    rebase: bool = Field(default=False, description="let it stand although `base` is not the last revision")
    dry_run: bool = Field(default=False, description="change nothing; say what would change, and the forecast")


class DoneIn(Strict):
    """The goal is reached."""

    answer: JsonValue = Field(default="", description="may hold bindings to results")
    despite: list[Name] = Field(
        default=[], max_length=1_000, description="each star that failed with nothing in its place"
    )
    reason: Text = ""


class GiveUpIn(Strict):
    """The goal cannot be reached."""

    reason: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]


class AnswerIn(Strict):
    """An answer to an open question: an edit, or one of the two ends."""

    operations: list[OperationIn] = Field(default=[], max_length=10_000, description="none: go on as it is")
    reason: Text = ""
    base: int | None = Field(default=None, ge=1, description="the revision that was looked at")
    done: DoneIn | None = None
    give_up: GiveUpIn | None = None


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
