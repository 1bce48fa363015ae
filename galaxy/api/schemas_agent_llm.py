"""What a device may say to the node's model, and what it hears back: the part of chat completions that is passed on."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from .words import JsonObject, Out

MESSAGES_MAX = 2_000
STOPS_MAX = 16
ANSWER_TOKENS_MAX = 10_000_000

Stop = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Known(BaseModel):
    """What is passed on. Clients send more, of which nothing goes any further: models, tools, streams, choices."""

    model_config = ConfigDict(extra="ignore")


class MessageIn(Known):
    """Text only: what an image costs is not known beforehand, and an address in it would be called by the provider."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class ResponseFormatIn(Known):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonObject | None = None


class CompletionIn(Known):
    """A question. The node says which model answers it, and asks for one answer in one piece."""

    messages: list[MessageIn] = Field(min_length=1, max_length=MESSAGES_MAX)
    response_format: ResponseFormatIn | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1, le=ANSWER_TOKENS_MAX)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=ANSWER_TOKENS_MAX)
    stop: Stop | list[Stop] | None = Field(default=None, max_length=STOPS_MAX)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)


class MessageOut(Out):
    role: str
    content: str | None
    refusal: str | None


class ChoiceOut(Out):
    index: int
    message: MessageOut
    finish_reason: str | None


class UsageOut(Out):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class CompletionOut(Out):
    id: str
    object: str
    created: int
    model: str
    choices: list[ChoiceOut]
    usage: UsageOut


class ModelOut(Out):
    id: str
    object: str
    owned_by: str


class ModelsOut(Out):
    object: str
    data: list[ModelOut]
