"""The device's model: chat completions over HTTP, asked for one answer at a time, and asked again when it stumbles.

Nothing of it is imported before the first instruction: an agent that gets none does not pay for it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import httpx2
import msgspec
from msgspec import Struct

from .answers import PLAIN, bounded
from .brain import Answer, Ask
from .errors import ToolFailed
from .tools.blocking import unblocked

if TYPE_CHECKING:
    import openai

TRIES_MAX = 4
BACK_OFF_S = 0.5  # doubled each time, with full jitter
ANSWER_BYTES_MAX = 16 << 20
PAUSE_S_MAX = 30.0  # also where the endpoint would like more
ANSWER_WITHIN_S = 180.0
WORDS_CHARS_MAX = 500
GALAXY_PATH = "/v1/agent-llm"

_NO_MODEL = {403, 404, 503}  # as Galaxy says it, with a problem that explains why
_WORTH_ANOTHER_TRY = {408, 409, 425, 429}  # and all from 500


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is. The key may change; `galaxy`: it is the node's own, which knows attempts and budgets."""

    url: str
    model: str
    key: Callable[[], str]
    galaxy: bool = False


class _Text(Struct, frozen=True):
    content: str | None = None


class _Choice(Struct, frozen=True):
    message: _Text


class _Usage(Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(Struct, frozen=True):
    """What is read of an answer; the rest of it differs from endpoint to endpoint."""

    choices: list[_Choice]
    usage: _Usage | None = None


class _Problem(Struct, frozen=True):
    title: str = ""
    detail: str = ""


class Model:
    """The model behind an endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self._endpoint = endpoint
        self._pause = pause
        self._within_s = within_s
        self._chance = Random()
        self._trusted: ssl.SSLContext | None = None

    @asynccontextmanager
    async def opened(self, attempt: str) -> AsyncIterator["Chat"]:
        """Let one attempt talk with the model."""
        if self._trusted is None:
            self._trusted = await unblocked(lambda _: _prepared())
        import openai

        async def key() -> str:
            return self._endpoint.key() or "none"  # local endpoints want none, the client wants one

        http = httpx2.AsyncClient(
            verify=self._trusted,
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            headers=PLAIN,
            event_hooks={"response": [bounded(ANSWER_BYTES_MAX)]},
        )
        async with openai.AsyncOpenAI(
            api_key=key,
            base_url=self._endpoint.url,
            max_retries=0,
            default_headers=PLAIN | ({"Galaxy-Attempt": attempt} if self._endpoint.galaxy else {}),
            http_client=http,
        ) as client:
            yield Chat(self._endpoint, client, self._asked_again, self._within_s)

    async def _asked_again(self, tries: int, wanted_s: float) -> None:
        """Wait before the next try."""
        back_off_s = self._chance.uniform(0.0, BACK_OFF_S * 2**tries)
        await self._pause(min(max(wanted_s, back_off_s), PAUSE_S_MAX))


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation of one attempt with the model."""

    endpoint: Endpoint
    client: "openai.AsyncOpenAI"
    pause: Callable[[int, float], Awaitable[None]]
    within_s: float

    async def answer(self, ask: Ask) -> Answer:
        """Return the model's answer; raise ToolFailed: no_model, budget_exhausted, model_failed."""
        import openai

        why, wanted_s = "", 0.0
        for tries in range(TRIES_MAX):
            if tries:
                await self.pause(tries, wanted_s)
            try:
                return await self._asked(ask)
            except openai.APIStatusError as exc:
                why, wanted_s = self._judged(exc), _retry_after_s(exc.response)
            except openai.APIConnectionError as exc:
                why, wanted_s = f"{exc.message} {exc.__cause__ or ''}".strip(), 0.0
            except TimeoutError:
                why, wanted_s = f"no answer in {self.within_s:g} s", 0.0
            except (msgspec.DecodeError, RecursionError, openai.OpenAIError) as exc:
                why, wanted_s = f"no chat completion: {exc}", 0.0
        raise ToolFailed("model_failed", f"asked {TRIES_MAX} times; {why}", retryable=True)

    async def _asked(self, ask: Ask) -> Answer:
        format_: dict[str, Any] = {"name": "step", "strict": True, "schema": ask.schema}
        messages: Any = ask.messages
        form: Any = {"type": "json_schema", "json_schema": format_}
        async with asyncio.timeout(self.within_s):
            response = await self.client.chat.completions.with_raw_response.create(
                model=self.endpoint.model,
                messages=messages,
                response_format=form,
                max_completion_tokens=ask.tokens_max,
            )
        said = msgspec.json.decode(response.http_response.content, type=_Completion)
        if not said.choices:
            raise msgspec.DecodeError("it offers no choice")
        usage = said.usage or _Usage()
        text = said.choices[0].message.content or ""
        return Answer(text, usage.prompt_tokens or 0, usage.completion_tokens or 0)

    def _judged(self, exc: "openai.APIStatusError") -> str:
        """Return why the endpoint refused; raise ToolFailed where another try is of no use."""
        status, why = exc.status_code, _words(exc.response)
        if status == httpx2.codes.PAYMENT_REQUIRED:
            raise ToolFailed("budget_exhausted", why) from exc
        if self.endpoint.galaxy and status in _NO_MODEL and _is_problem(exc.response):
            raise ToolFailed("no_model", why, retryable=True) from exc
        if status in _WORTH_ANOTHER_TRY or status >= 500:
            return why
        raise ToolFailed("model_failed", why, retryable=True) from exc


def _prepared() -> ssl.SSLContext:
    """Import the client, and make what it needs for TLS: both take long enough to hold up the loop."""
    import openai as openai  # kept by Python, not here

    return httpx2.create_ssl_context()


def _is_problem(response: httpx2.Response) -> bool:
    return str(response.headers.get("content-type", "")).startswith("application/problem+json")


def _words(response: httpx2.Response) -> str:
    """Return what the endpoint says of its refusal."""
    if _is_problem(response):
        try:
            problem = msgspec.json.decode(response.content, type=_Problem)
        except msgspec.DecodeError:
            problem = _Problem()
        if words := problem.detail or problem.title:
            return words[:WORDS_CHARS_MAX]
    return f"the model's endpoint answered {response.status_code}: {response.text[:WORDS_CHARS_MAX]}"


def _retry_after_s(response: httpx2.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("retry-after", "0")))
    except ValueError:  # a date
        return 0.0
