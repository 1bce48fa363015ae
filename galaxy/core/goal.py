"""A goal in words, what may be used for it, and when its planner is asked: fixed when it is submitted."""

from enum import StrEnum

from msgspec import Raw, Struct, field

from protocol.vocabulary import Effect

from .edit import Edit

REPAIR = "repair"  # the planner that needs no model; its rules are asked before any other


class ContextItem(Struct, frozen=True, omit_defaults=True):
    """Something that a planner should know: a text, or an artifact by its SHA-256."""

    name: str
    text: str = ""
    artifact: str = ""


class Goal(Struct, frozen=True, omit_defaults=True):
    """What a person wants, in words."""

    text: str
    context: tuple[ContextItem, ...] = ()
    deadline_s: float = 0.0  # since it was submitted; 0: none


class ConsultWhen(StrEnum):
    """Which ends of stars are questions to the planner. A star that says for itself is asked about as it says."""

    ON_FAILURE = "on_failure"
    ALWAYS = "always"
    NEVER = "never"


class Planning(Struct, frozen=True, omit_defaults=True):
    """Who plans, when it is asked, and how far it may go."""

    planner: str = REPAIR
    when: ConsultWhen = ConsultWhen.NEVER
    repair: bool = True  # the rules are asked first
    answer_within_s: float = 120.0
    debounce_s: float = 0.25  # facts that arrive in this time are one question
    consults_max: int = 50
    rounds_max: int = 3  # answers to one question, the refused ones among them
    additions_max: int = 1_000  # stars that planners may add in all


class Budget(Struct, frozen=True, omit_defaults=True):
    """What models may cost in all; 0 is no limit. `money` is in the currency of the price table."""

    tokens: int = 0
    money: float = 0.0
    calls: int = 0


class Grant(Struct, frozen=True, omit_defaults=True):
    """What a constellation may use, whoever edits it; empty is everything."""

    tools: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    budget: Budget = Budget()
    approve: tuple[Effect, ...] = ()  # calls of these classes wait for a person's approval
    approval_within_s: float = 86_400.0  # a question to a person that is older has lapsed, and so has its answer


class FactKind(StrEnum):
    """What a planner is asked about."""

    GOAL = "goal"  # it is to be planned
    FAILED = "failed"  # a star has no attempts left; it is kept until the question is answered
    SUCCEEDED = "succeeded"
    ENDED = "ended"  # nothing is left to do: is the goal reached?


class Fact(Struct, frozen=True, omit_defaults=True):
    """One reason to ask."""

    kind: FactKind
    at: float
    star: str = ""


class Consult(Struct, omit_defaults=True):
    """An open question to the planner. Only its constellation changes it."""

    number: int
    facts: tuple[Fact, ...]
    opened_at: float
    deadline_at: float
    held: list[str] = []  # stars that have not started and wait for the answer
    refusals: list[str] = []  # why each answer so far was not accepted


class ConsultEnd(StrEnum):
    """How a question was closed without an edit."""

    SILENT = "silent"  # no answer in time
    FAILED = "failed"  # the planner could not be asked, or its answers were not acceptable
    NO_ANSWER = "no_answer"  # it knows nothing to do


class Done(Struct, frozen=True, omit_defaults=True):
    """The goal is reached. `answer` is JSON for the person, with bindings to results rather than retyped values.

    `despite` names each star that failed with nothing in its place.
    """

    answer: Raw = Raw(b'""')
    despite: tuple[str, ...] = ()
    reason: str = ""


class GiveUp(Struct, frozen=True):
    """The goal cannot be reached."""

    reason: str


Answer = Edit | Done | GiveUp  # an edit without operations: go on as it is


class Usage(Struct, frozen=True, omit_defaults=True):
    """What one call of a model cost, and what tells it apart from others."""

    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    money: float = 0.0
    took_s: float = 0.0
    prompt: str = ""  # name and version of the prompt's file
    prompt_sha256: str = ""
    answer_sha256: str = ""
    error: str = ""


class Spent(Struct, omit_defaults=True):
    """What models have cost so far, and what is set aside for calls that have not come back."""

    tokens: int = 0
    money: float = 0.0
    calls: int = 0
    reserved: dict[str, tuple[int, float]] = {}  # call -> tokens, money

    def would_be(self, tokens: int, money: float) -> tuple[int, float, int]:
        """Return tokens, money and calls if another call with these were set aside."""
        set_aside = self.reserved.values()
        return (
            self.tokens + tokens + sum(t for t, _ in set_aside),
            self.money + money + sum(m for _, m in set_aside),
            self.calls + len(self.reserved) + 1,
        )


class Dialogue(Struct, omit_defaults=True):
    """What has passed between a constellation and its planner. Only the constellation changes it."""

    consult: Consult | None = None
    facts: list[Fact] = []  # that will be the next question
    held: list[str] = []  # stars that wait for its answer
    unanswered: list[str] = []  # stars that a closed question has left held: a person goes on with them
    consults: int = 0
    additions: int = 0  # stars that planners have added
    patches: list[str] = []  # what was answered to which failures
    reasons: list[str] = []  # of planners' edits, one each
    seen_at: float = 0.0  # when the last question that is closed was asked: what is older was in it
    settled: bool = False  # nothing more is asked
    answers: tuple[Raw, ...] = ()  # none or one: the answer to the goal, its bindings replaced
    ended_because: str = ""  # why the planner is done, or gave up
    given_up: bool = False
    spent: Spent = field(default_factory=Spent)

    def has_open(self) -> bool:
        """Return whether something is asked, or about to be."""
        return bool(self.facts) or self.consult is not None
