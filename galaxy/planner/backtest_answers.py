"""Two answers to one question, the recorded one and a planner's own, and what tells them apart."""

from collections import Counter
from dataclasses import dataclass, field

import msgspec
from msgspec import Raw

from ..core.edit import AnyOperation, Edit
from ..core.goal import Answer, Done, Fact
from ..views.revisions import Cost, Picture, plain_facts


@dataclass(slots=True)
class Said:
    """What came of a question: an answer, or how it ended without one."""

    kind: str = "open"
    reason: str = ""
    by: str = ""
    answer: Answer | None = None
    cost: Cost = field(default_factory=Cost)

    def shown(self) -> Picture:
        shown: Picture = {"answer": self.kind, "reason": self.reason, "cost": self.cost}
        match self.answer:
            case Edit(operations=operations):
                shown["operations"] = operations
            case Done(answer=answer, despite=despite):
                shown |= {"result": answer, "despite": despite}
        return shown


@dataclass(slots=True)
class Question:
    """One recorded question, with both answers to it."""

    number: int
    facts: tuple[Fact, ...]
    asked_at: float
    revision: int
    stars: list[str]  # what waited for the answer
    proposed: Said
    refusal: str | None  # why the core would not have taken it; None: it would have
    would_be_asked: bool
    recorded: Said = field(default_factory=Said)
    refusals: list[str] = field(default_factory=list)  # of recorded answers
    closed_at: float | None = None

    @property
    def accepted(self) -> bool | None:
        """Whether the core would have taken the proposed answer; None where there is no answer."""
        return None if self.proposed.answer is None else self.refusal is None

    @property
    def held_s(self) -> float:
        return 0.0 if self.closed_at is None else self.closed_at - min(fact.at for fact in self.facts)

    def shown(self) -> Picture:
        return {
            "number": self.number,
            "revision": self.revision,
            "at": self.asked_at,
            "facts": plain_facts(self.facts),
            "recorded": {**self.recorded.shown(), "by": self.recorded.by, "refusals": self.refusals},
            "proposed": {**self.proposed.shown(), "accepted": self.accepted, "refusal": self.refusal},
            "same": is_same(self.recorded, self.proposed),
            "difference": difference(self.recorded, self.proposed),
            "would_be_asked": self.would_be_asked,
            "cut": {"stars": self.stars, "held_s": round(self.held_s, 3)},
        }


def is_same(one: Said, other: Said) -> bool:
    """Return whether two answers come to the same, whatever their reasons and the order of their operations."""
    match one.answer, other.answer:
        case Done() as first, Done() as second:
            return (bytes(first.answer), set(first.despite)) == (bytes(second.answer), set(second.despite))
        case Edit() as first, Edit() as second:
            return _operations(first) == _operations(second)
    return one.kind == other.kind


def difference(recorded: Said, proposed: Said) -> dict[str, list[Raw]]:
    """Return the operations that are in one answer only."""
    old, new = _operations(recorded.answer), _operations(proposed.answer)
    return {"only_recorded": [*map(Raw, (old - new).elements())], "only_proposed": [*map(Raw, (new - old).elements())]}


def _operations(answer: Answer | None) -> Counter[bytes]:
    operations: tuple[AnyOperation, ...] = answer.operations if isinstance(answer, Edit) else ()
    return Counter(map(msgspec.json.encode, operations))
