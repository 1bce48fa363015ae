"""A star as it is written: one tool call, what it needs, and its policies. Frozen; its course is kept apart."""

from enum import StrEnum

from msgspec import Raw, Struct

from protocol.vocabulary import Effect

EMPTY = Raw(b"{}")
INSTRUCT = "instruct"  # the tool by which a device follows an instruction


class Needs(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a device must have to be given the star."""

    tools: tuple[str, ...] = ()  # beside the star's own tool
    labels: dict[str, str] = {}
    device: str = ""  # this one and no other


class Retry(Struct, frozen=True, gc=False, omit_defaults=True):
    """How often to try, and how long to wait between: exponential, capped, with full jitter."""

    attempts: int = 3
    backoff_s: float = 1.0
    factor: float = 2.0
    cap_s: float = 60.0
    jitter: bool = True


class Timeouts(Struct, frozen=True, gc=False, omit_defaults=True):
    """How long a star may wait for a device, run, and run without a sign of progress (0: no limit)."""

    queue_s: float = 3600.0
    run_s: float = 300.0
    idle_s: float = 0.0


class Reconcile(StrEnum):
    """Which of two attempts goes on when the device of the first is back and a substitute runs."""

    KEEP_ORIGINAL = "keep_original"
    KEEP_REPLACEMENT = "keep_replacement"
    FIRST_RESULT = "first_result"  # both, until one has succeeded


class Disconnect(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a dropped connection means: the device stops the attempt by itself, and later Galaxy gives it up.

    `replace` starts a substitute elsewhere meanwhile, where the call may be repeated; None: if it is pure.
    """

    lost_after_s: float = 60.0
    stop_after_s: float = 60.0  # 0: never; more than lost_after_s counts as that, or two devices could act at once
    replace: bool | None = None
    reconcile: Reconcile = Reconcile.FIRST_RESULT

    @property
    def stops_after_s(self) -> float:
        """What the device is told."""
        return min(self.stop_after_s, self.lost_after_s)


class Verify(Struct, frozen=True, gc=False, omit_defaults=True):
    """A call that tells whether the effect of a cut-off attempt happened.

    It is made only where the tool says of itself that it is pure, for nobody is asked before it. `happened` is a CEL
    expression over the call's `result`.
    """

    tool: str
    happened: str
    arguments: Raw = EMPTY


class Instruction(Struct, frozen=True, gc=False, omit_defaults=True):
    """A subtask in words, for the device's own model. The star's arguments are its inputs."""

    text: str
    tips: str = ""
    tools: tuple[str, ...] = ()  # that the model may call, and no others
    steps_max: int = 20
    tokens_max: int = 50_000
    output: Raw = EMPTY  # the JSON Schema that the result must fit
    match: bool = False  # it names no tools: they are found by its words, where it is placed


class Fallback(Struct, frozen=True, gc=False, omit_defaults=True):
    """Another tool call that does as well, for when the star's own has failed for good."""

    tool: str
    arguments: Raw = EMPTY


class OnFailure(StrEnum):
    """What to do when a star has no attempts left."""

    FAIL = "fail"
    PAUSE = "pause"  # keep the star, pause the constellation, and let a person retry or skip it
    CONSULT = "consult"  # keep the star until the planner has answered


class OnSuccess(StrEnum):
    """What to do when a star has succeeded."""

    GO_ON = "go_on"
    CONSULT = "consult"  # hold what is behind it until the planner has answered


class Binding(Struct, frozen=True, gc=False):
    """One value of a star's arguments that comes from another star's result."""

    source: str
    pointer: str  # RFC 6901, into the result


class Star(Struct, frozen=True, gc=False, omit_defaults=True):
    """One subtask."""

    id: str
    tool: str
    arguments: Raw = EMPTY  # a JSON object; `{"$from": star, "pointer": p}` in it is a binding
    bindings: tuple[Binding, ...] = ()  # those in `arguments`, found by `binding.bindings_in`
    title: str = ""
    needs: Needs = Needs()
    effects: Effect | None = None  # None: what the tool says of itself
    verify: Verify | None = None
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    disconnect: Disconnect = Disconnect()
    priority: int = 0
    on_failure: OnFailure | None = None  # None: as its constellation's planning says
    on_success: OnSuccess | None = None
    instruction: Instruction | None = None  # `tool` is then INSTRUCT
    fallback: Fallback | None = None
    needs_approval: bool = False  # a person is asked before each attempt
    hedge: bool = False  # a pure call that is slow gets a second attempt elsewhere


class When(StrEnum):
    """Which end of the source lets a line be crossed."""

    SUCCESS = "success"
    FAILURE = "failure"
    ALWAYS = "always"
    CONDITION = "condition"


class Line(Struct, frozen=True, gc=False, omit_defaults=True):
    """A dependency. There is at most one line between two stars."""

    source: str
    target: str
    when: When = When.SUCCESS
    condition: str = ""  # CEL over the source's `result`, where `when` is condition
    implied: bool = False  # drawn by a binding, not by hand
