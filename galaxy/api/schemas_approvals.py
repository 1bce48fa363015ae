"""What people say about calls that wait for them, and about calls to come; and what they are shown of both."""

from typing import Annotated, Any

from pydantic import Field, JsonValue, StringConstraints

from .words import JsonObject, Name, Out, Strict, Text, ToolName

RULE_HOURS_MAX = 24 * 365

Owner = Annotated[str, StringConstraints(max_length=120, pattern=r"^[^\x00]*$")]


class DecisionIn(Strict):
    """A yes or a no to one attempt."""

    attempt: int | None = Field(default=None, ge=1, le=10**9, description="default: the one that is asked about")
    asked_at: float | None = Field(
        default=None, description="as listed: the decision is about this very question, and about none that came after"
    )
    reason: Text = Field(default="", description="of a no, it becomes part of the failure")


class RuleIn(Strict):
    """Calls that are approved in advance."""

    tool: ToolName
    pattern: dict[str, JsonValue] = Field(
        description="of the shape of the arguments; in a text, * stands for any characters. No other key is let through"
    )
    device: Name | None = Field(default=None, description="default: any")
    hours: float = Field(default=24.0, gt=0, le=RULE_HOURS_MAX)
    owner: Owner = Field(default="", description="who says so")


class AskedInstructionOut(Out):
    text: str
    tips: str
    tools: list[str]


class ApprovalOut(Out):
    constellation: str
    name: str
    star: str
    title: str
    attempt: int
    device: str
    tool: str
    arguments: JsonObject
    instruction: AskedInstructionOut | None
    effect: str
    asked_at: float
    expires_at: float


class ApprovalsOut(Out):
    items: list[ApprovalOut]
    total: int = Field(description="how many wait; `items` are those that have waited longest")
    at: float = Field(description="when this was so, by the clock that `expires_at` is of")


class DecisionOut(Out):
    constellation: str
    star: str
    attempt: int
    decision: str


class RuleOut(Out):
    id: str
    tool: str
    pattern: dict[str, Any]
    device: str | None
    made_at: float
    expires_at: float
    by: str
    allows: str = Field(description="what it lets through, in words")


class RulesOut(Out):
    items: list[RuleOut]
