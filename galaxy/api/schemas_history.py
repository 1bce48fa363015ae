"""What goes in and comes out of the history: revisions, differences, forks, backtests."""

from typing import Annotated, Any

from pydantic import Field

from ..core.goal import ConsultWhen
from .shown import FactOut
from .words import Name, Out, Strict, Text

REVISIONS_MAX = 10**9

Revision = Annotated[int, Field(ge=1, le=REVISIONS_MAX)]


class UndoIn(Strict):
    """Which revision is to be taken back."""

    revision: Revision | None = Field(default=None, description="default: the last")
    reason: Text = ""


class ForkIn(Strict):
    """From where another constellation goes on; with neither, all that succeeded is kept and the rest is done."""

    revision: Revision | None = Field(default=None, description="the graph as of it; default: as it is")
    star: Name | None = Field(default=None, description="it, and all that is behind it, is done anew")
    name: Text | None = Field(default=None, description="default: as the other one is called")


class BacktestIn(Strict):
    """Whose answers are to be compared with the recorded ones, and which questions would have been asked."""

    planner: Name = Field(description="outline, repair, or llm where one is configured")
    when: ConsultWhen | None = Field(default=None, description="default: as it was")


class CostOut(Out):
    tokens_in: int
    tokens_out: int
    money: float
    calls: int
    seconds: float


class RevisionOut(Out):
    revision: int
    at: float
    by: str
    reason: str
    base: int
    rebased: bool = Field(description="others were made between `base` and this one")
    consult: int = Field(description="the question that it answered; 0: none")
    facts: list[FactOut]
    operations: dict[str, int]
    cost: CostOut | None


class RevisionsOut(Out):
    items: list[RevisionOut]
    next: int | None = Field(description="the `after` of the next page")


class ChangesOut(Out):
    added: list[dict[str, Any]]
    removed: list[dict[str, Any]]
    changed: list[dict[str, Any]] = Field(description="each with its `fields`, before and after")


class DiffOut(Out):
    id: str
    revision: int
    stars: ChangesOut
    lines: ChangesOut
    retried: list[dict[str, Any]]
    skipped: list[dict[str, Any]]
    superseded: list[dict[str, Any]]


class UndoneOut(Out):
    id: str
    revision: int
    undone: int


class ForkedOut(Out):
    id: str
    name: str
    state: str
    revision: int
    stars: int
    kept: int = Field(description="stars whose results are taken over")
    origin: str


class BacktestOut(Out):
    id: str
    planner: str
    when: str
    note: str
    questions: list[dict[str, Any]]
    additional: list[dict[str, Any]]
    totals: dict[str, Any]
