"""One call of a model, at any endpoint that speaks OpenAI's chat completions.

What is only for a while (a crowded or broken endpoint, a lost connection, a timeout) is tried again, later each time;
what will not change is PlannerFailed at once, with what to do. Each try is paid for by itself.
"""

import asyncio
import hashlib
import json
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import openai
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ..core.goal import Usage
from .answer_schema import Json
from .contract import Meter, PlannerFailed
from .endpoint import client_of_model
from .prices import Price, price_of

BACKOFF_S = 0.5
BACKOFF_CAP_S = 20.0
RETRY_AFTER_MAX_S = 60.0
THOUGHT_CHARS = 2_000  # in one piece
THOUGHTS_CHARS_MAX = 40_000  # in one answer
CONTENT_CHARS_MAX = 1_000_000
BYTES_OF_A_TOKEN = 3  # fewer than models have on average, so that an estimate is rather too high
WORDS_CHARS = 300  # of an endpoint's error
OVERHEAD_TOKENS = 50

Message = Mapping[str, str]
Pause = Callable[[float], Awaitable[None]]

CUT_OFF = "it was cut off: it has more than the {} tokens that an answer may have; be shorter"
EMPTY = "it was empty"

WHAT_TO_DO = {
    401: "the key is not accepted: set GALAXY_LLM_KEY",
    402: "there is no credit left with the provider",
    403: "the key may not use this model: look at GALAXY_LLM_KEY and GALAXY_LLM_MODEL",
    404: "the address or the model is unknown there: look at GALAXY_LLM_URL (it ends in /v1, as a rule) and "
    "GALAXY_LLM_MODEL",
    413: "the prompt is too large for the endpoint",
}
REFUSED_REQUEST = (400, 422)
FOR_A_WHILE = frozenset({408, 409, 425, 429})


class LlmSettings(BaseModel):
    """Which model is asked, where, and how long and how often."""

    model_config = ConfigDict(frozen=True)

    base_url: str
    key: SecretStr = SecretStr("")
    model: str
    prices: dict[str, Price] = {}
    currency: str = ""
    call_timeout_s: float = Field(default=60.0, gt=0)
    total_timeout_s: float = Field(default=110.0, gt=0)  # of an answer with all its repairs
    retries: int = Field(default=3, ge=0, le=10)
    answers_max: int = Field(default=3, ge=1, le=10)
    steps_max: int = Field(default=12, ge=1, le=40)  # new stars in one answer
    tokens_out_max: int = Field(default=4_000, ge=100)
    temperature: float | None = None  # None: not said; some models refuse it


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and in which form the answer is wanted."""

    prompt: str  # name and version
    messages: Sequence[Message]
    schema: Json

    def fingerprint(self) -> str:
        return sha256(json.dumps([list(map(dict, self.messages)), self.schema], sort_keys=True))


@dataclass(frozen=True, slots=True)
class Said:
    """What came back: the answer's text, or in `unusable` why there is none to read."""

    text: str
    unusable: str = ""


class Transient(Exception):
    """It did not work, and may a moment later; not before `after_s`, if the endpoint said so."""

    def __init__(self, message: str, after_s: float = 0.0) -> None:
        super().__init__(message)
        self.after_s = after_s


class OtherForm(Exception):
    """The endpoint does not take the request in this form, but perhaps in another; `param` is what it names."""

    def __init__(self, message: str, param: str | None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Form:
    """How requests to an endpoint are put; they are not all alike."""

    with_schema: bool = True
    limit: str = "max_completion_tokens"

    def after(self, refused: OtherForm) -> "Form | None":
        """Return the form to try next."""
        if refused.param == self.limit == "max_completion_tokens":
            return replace(self, limit="max_tokens")
        return replace(self, with_schema=False) if self.with_schema else None


@dataclass(slots=True)
class Collected:
    """What has streamed in of one answer."""

    content: list[str] = field(default_factory=list)
    reasoning: str = ""  # not passed on yet
    reasoned: int = 0
    chars: int = 0
    finish: str = ""
    refusal: str = ""
    tokens: tuple[int, int] | None = None

    @property
    def text(self) -> str:
        return "".join(self.content)


class Provider:
    """The endpoint. `chance` spreads the tries of many; `pause` waits."""

    def __init__(self, settings: LlmSettings, chance: random.Random, pause: Pause = asyncio.sleep) -> None:
        self.settings = settings
        self._chance = chance
        self._pause = pause
        self._form = Form()  # the last that was taken
        self._model = settings.model
        self._trusted = httpx2.create_ssl_context()

    async def ask(self, question: Question, meter: Meter, *, money_counts: bool) -> Said:
        """Return the model's answer; raise PlannerFailed."""
        price = price_of(self._model, self.settings.prices, money_counts=money_counts)
        tries, form = 0, self._form
        while True:
            try:
                said = await self._paid(question, form, meter, price)
            except Transient as exc:
                tries += 1
                if tries > self.settings.retries:
                    raise PlannerFailed(f"{self._model} did not answer after {tries} tries: {exc}") from exc
                await self._pause(self._wait(tries, exc.after_s))
            except OtherForm as exc:
                following = form.after(exc)
                if following is None:
                    raise PlannerFailed(f"the endpoint does not take the request: {exc}") from exc
                form = following
            else:
                self._form = form
                return said

    def _wait(self, tries: int, after_s: float) -> float:
        if after_s:
            return min(after_s, RETRY_AFTER_MAX_S)
        return self._chance.uniform(0, min(BACKOFF_CAP_S, BACKOFF_S * 2**tries))

    async def _paid(self, question: Question, form: Form, meter: Meter, price: Price) -> Said:
        """Try once, with the money set aside before and accounted for after, whatever happens."""
        loop = asyncio.get_running_loop()
        most_in = estimated(question)
        call = await meter.reserve(
            most_in + self.settings.tokens_out_max, price.of(most_in, self.settings.tokens_out_max)
        )
        began, got, error = loop.time(), Collected(), ""
        try:
            said = await self._tried(question, form, meter, got)
            error = said.unusable
        except BaseException as exc:
            error = self._clean(str(exc)) or type(exc).__name__
            raise
        finally:
            tokens_in, tokens_out = got.tokens or (most_in, _tokens(got.chars))
            usage = Usage(
                model=self._model,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
                money=price.of(tokens_in, tokens_out),
                took_s=loop.time() - began,
                prompt=question.prompt,
                prompt_sha256=question.fingerprint(),
                answer_sha256=sha256(got.text) if got.content else "",
                error=error,
            )
            await meter.settle(call, usage)
        return said

    async def _tried(self, question: Question, form: Form, meter: Meter, got: Collected) -> Said:
        try:
            async with asyncio.timeout(self.settings.call_timeout_s):
                await self._streamed(question, form, meter, got)
        except (TimeoutError, openai.APITimeoutError) as exc:
            raise Transient(f"no whole answer within {self.settings.call_timeout_s:g} s") from exc
        except openai.APIStatusError as exc:
            raise self._judged(exc) from exc
        except (openai.APIError, ValueError) as exc:  # a lost connection, or a stream that is no JSON
            raise Transient(self._clean(str(exc))) from exc
        return self._said(got)

    async def _streamed(self, question: Question, form: Form, meter: Meter, got: Collected) -> None:
        settings = self.settings
        client = openai.AsyncOpenAI(
            api_key=settings.key.get_secret_value() or "none",  # the package wants one; servers at home do not
            base_url=settings.base_url,
            max_retries=0,
            timeout=settings.call_timeout_s,
            http_client=client_of_model(settings.call_timeout_s, self._trusted),
        )
        async with client:
            stream = await client.chat.completions.create(**self._request(question, form))
            async with aclosing(stream):
                async for chunk in stream:
                    try:
                        _collect(chunk, got)
                    except (AttributeError, TypeError) as exc:  # the package takes any JSON for a chunk
                        raise Transient("the stream is not one of chat completions") from exc
                    await _think(got, meter, at_end=False)
                    if got.chars > CONTENT_CHARS_MAX:
                        raise PlannerFailed(f"{self._model} gave more than {CONTENT_CHARS_MAX} characters")
        await _think(got, meter, at_end=True)

    def _request(self, question: Question, form: Form) -> Any:
        messages, schema = [dict(message) for message in question.messages], question.schema
        answer_format: Json = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema},
        }
        if not form.with_schema:
            answer_format = {"type": "json_object"}
            told = f"\n\nAnswer with one JSON object that fits this JSON Schema:\n{json.dumps(schema)}"
            messages[0]["content"] += told
        request = {
            "model": self._model,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            "response_format": answer_format,
            form.limit: self.settings.tokens_out_max,
        }
        return request if self.settings.temperature is None else {**request, "temperature": self.settings.temperature}

    def _judged(self, exc: openai.APIStatusError) -> Exception:
        """Return what an answer with an error's status means for us."""
        status, words = exc.status_code, self._clean(exc.message)
        if status == 429 and exc.code == "insufficient_quota":
            return PlannerFailed(f"{WHAT_TO_DO[402]}: {words}")
        if status in FOR_A_WHILE or status >= 500:
            return Transient(words or f"status {status}", _seconds(exc.response.headers.get("retry-after", "")))
        if status in REFUSED_REQUEST:
            return OtherForm(words, exc.param)
        return PlannerFailed(f"{WHAT_TO_DO.get(status, f'the endpoint answered with status {status}')}: {words}")

    def _said(self, got: Collected) -> Said:
        if got.refusal or got.finish == "content_filter":
            words = self._clean(got.refusal) or "its provider filtered the answer"
            raise PlannerFailed(f"{self._model} refused to answer: {words}")
        if got.finish == "length":
            return Said(got.text, CUT_OFF.format(self.settings.tokens_out_max))
        if not got.finish:
            raise Transient("the stream ended before the answer did")
        return Said(got.text, "" if got.text.strip() else EMPTY)

    def _clean(self, words: str) -> str:
        """Return an endpoint's words without our key, which some repeat."""
        key = self.settings.key.get_secret_value()
        return (words.replace(key, "***") if key else words)[:WORDS_CHARS]


def estimated(question: Question) -> int:
    """Return how many tokens the question has, rather too many than too few."""
    texts = [message["content"] for message in question.messages]
    return OVERHEAD_TOKENS + sum(_tokens(len(text.encode())) for text in (*texts, json.dumps(question.schema)))


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _tokens(size: int) -> int:
    return -(-size // BYTES_OF_A_TOKEN)


def _seconds(retry_after: str) -> float:
    """Return the header's seconds; a date, which clocks would have to agree on, counts as none."""
    return float(retry_after) if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", retry_after) else 0.0


def _collect(chunk: ChatCompletionChunk, got: Collected) -> None:
    if chunk.usage:
        counts = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        got.tokens = (max(0, int(counts[0])), max(0, int(counts[1])))
    for choice in chunk.choices[:1]:
        got.finish = choice.finish_reason or got.finish
        delta = choice.delta
        got.refusal += delta.refusal or ""
        content = "" + (delta.content or "")  # a TypeError where it is no text
        more = delta.model_extra or {}
        reasoning = more.get("reasoning_content") or more.get("reasoning")
        if content:
            got.content.append(content)
        if isinstance(reasoning, str):
            got.reasoning += reasoning
            got.chars += len(reasoning)
        got.chars += len(content)


async def _think(got: Collected, meter: Meter, *, at_end: bool) -> None:
    """Pass on whole sentences of the reasoning, or all that is left of it."""
    while got.reasoning and got.reasoned < THOUGHTS_CHARS_MAX:
        piece = got.reasoning[:THOUGHT_CHARS]
        ends = [match.end() for match in re.finditer(r"[.!?:]\s|\n", piece)]
        if at_end or len(got.reasoning) >= THOUGHT_CHARS:
            end = ends[-1] if ends and len(got.reasoning) > THOUGHT_CHARS else len(piece)
        elif ends:
            end = ends[-1]
        else:
            return
        if said := piece[:end].strip():
            await meter.thought(said)
        got.reasoning, got.reasoned = got.reasoning[end:], got.reasoned + end
    if got.reasoned >= THOUGHTS_CHARS_MAX:
        got.reasoning = ""
