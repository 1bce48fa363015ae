"""The node's model, lent to devices for the instructions that they follow: metered, bounded, and without its key.

A call is made for one attempt at an instruction, by the device that holds it. What the call may cost at most is set
aside before, in the constellation's budget and in the instruction's own; what it did cost is recorded after.
"""

import hashlib
import logging
import re
import secrets
from dataclasses import dataclass
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Header, Request, Response
from msgspec import Meta, Struct

from ..access import bearer_in
from ..core.attempt import AttemptId, Purpose
from ..core.errors import Refused
from ..core.events import UsageReserved, UsageSettled
from ..core.goal import Usage
from ..core.star import Instruction
from ..journal import event_of
from ..store.errors import StoreUnavailable
from .agent_model import LIMITS, AgentLlm, Heard, Unheard, Unreached, forwarded, limits_after
from .errors import Problem, problems
from .parts import Node, Parts, answer, parts
from .schemas_agent_llm import CompletionIn, CompletionOut, ModelsOut

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/agent-llm", tags=["agent-llm"])

BYTES_OF_A_TOKEN = 3  # fewer than models have on average, so that an estimate is rather too high
MESSAGE_TOKENS = 8  # of its role, and of what stands between two
ANSWER_TOKENS = 4_000  # where the device does not say
ATTEMPTS_COUNTED_MAX = 1_000  # before those that are over are forgotten
PAGE_ROWS = 5_000
CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
RETRY_AFTER = re.compile(r"[0-9]{1,6}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")

Tokens = Annotated[int, Meta(ge=0, le=10**9)]


class Said(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None


class Choice(Struct, frozen=True):
    message: Said
    finish_reason: str | None = None


class Counted(Struct, frozen=True):
    prompt_tokens: Tokens
    completion_tokens: Tokens


class Completion(Struct, frozen=True):
    """What is read of an answer; the rest of it goes no further."""

    choices: Annotated[list[Choice], Meta(min_length=1)]
    usage: Counted | None = None


class Trouble(Struct, frozen=True):
    code: str | int | None = None


class TroubleOut(Struct, frozen=True):
    """What is read of an endpoint's refusal: a code, for its words may repeat what it was sent."""

    error: Trouble = Trouble()


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the model, with what is set aside for it."""

    id: str
    attempt: AttemptId
    llm: AgentLlm
    tokens_in: int
    tokens_out: int
    prompt_sha256: str
    began_at: float

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def money(self, tokens_in: int, tokens_out: int) -> float:
        return self.llm.price.of(tokens_in, tokens_out) if self.llm.price else 0.0


def device(request: Request, node: Annotated[Parts, Depends(parts)]) -> str:
    """Return the device whose session the caller's token was given to; the gate lets nobody else in."""
    found = node.gateway.artifact_device(bearer_in(request.headers.get("authorization", "")))
    if found is None:  # it ended just now
        raise Problem(401, "unauthorized", "the session that this token was given to is over")
    return found


DeviceName = Annotated[str, Depends(device)]


@router.get("/models", response_model=ModelsOut, responses=problems(401, 403, 503))
async def models(node: Node, device: DeviceName) -> Response:
    """Return the one model that there is."""
    return answer({"object": "list", "data": [{"id": _llm(node).model, "object": "model", "owned_by": "galaxy"}]})


@router.post(
    "/chat/completions",
    response_model=CompletionOut,
    responses=problems(400, 401, 402, 403, 409, 413, 422, 429, 502, 503, 504),
)
async def complete(
    node: Node, device: DeviceName, body: CompletionIn, galaxy_attempt: Annotated[str, Header()] = ""
) -> Response:
    """Ask the model for an attempt at an instruction; only fields that are named here are passed on."""
    attempt, _ = _held(node, device, galaxy_attempt)
    llm = _llm(node)
    with node.lent.calling(device):
        await _count(node, attempt)
        _, instruction = _held(node, device, galaxy_attempt)  # it may have ended while that was looked up
        call = _bounded(node, llm, attempt, instruction, body)
        await _reserve(node, call)
        heard = await _heard(node, call, device, body)
        return await _answered(node, call, device, heard)


def _llm(node: Parts) -> AgentLlm:
    if node.llm is None:
        text = "this node has no model: it is set by GALAXY_LLM_URL, GALAXY_LLM_MODEL and GALAXY_LLM_KEY"
        raise Problem(503, "no-model", text)
    return node.llm


def _held(node: Parts, device: str, header: str) -> tuple[AttemptId, Instruction]:
    """Return the attempt that is named and its instruction; raise Problem unless the device holds it now.

    What it does not hold is all the same to it: it learns nothing of others' work.
    """
    if not header:
        raise Problem(403, "not-its-attempt", "no header Galaxy-Attempt says what the model is wanted for")
    not_held = Problem(403, "not-its-attempt", f"{header[:200]} is no attempt that {device} holds")
    try:
        attempt = AttemptId.parse(header)
    except ValueError:
        raise not_held from None
    constellation = node.runner.core.constellations.get(attempt.constellation)
    course = constellation.courses.get(attempt.star) if constellation else None
    held = course.holding(attempt.number) if course else None
    if course is None or held is None or held.device != device or str(attempt) != header:
        raise not_held
    if held.stopping:
        raise Problem(403, "not-its-attempt", f"{attempt} was revoked: {held.stopping}")
    if course.star.instruction is None or held.purpose is not Purpose.RUN:
        raise Problem(403, "not-its-attempt", f"{attempt} calls a tool; the model is lent for instructions only")
    return attempt, course.star.instruction


async def _count(node: Parts, attempt: AttemptId) -> None:
    """See that the attempt's tokens are counted: from the log, if it began before this node did."""
    lent, core = node.lent, node.runner.core
    if attempt in lent.tokens:
        return
    if len(lent.tokens) >= ATTEMPTS_COUNTED_MAX:
        lent.tokens = {one: tokens for one, tokens in lent.tokens.items() if _is_held(node, one)}
    tokens, course = 0, core.constellations[attempt.constellation].courses[attempt.star]
    if course.attempts[attempt.number - 1].leased_at < node.began_at:
        tokens = await _recorded(node, attempt)
    lent.tokens.setdefault(attempt, tokens)


def _is_held(node: Parts, attempt: AttemptId) -> bool:
    constellation = node.runner.core.constellations.get(attempt.constellation)
    course = constellation.courses.get(attempt.star) if constellation else None
    return bool(course and course.holding(attempt.number))


async def _recorded(node: Parts, attempt: AttemptId) -> int:
    """Return the attempt's tokens by the log. A call that never came back has cost what was set aside for it."""
    cost: dict[str, int] = {}
    seq = 0
    while rows := await node.store.events(attempt.constellation, seq, PAGE_ROWS):
        seq = rows[-1].seq
        for row in rows:
            if not row.kind.startswith("usage_"):
                continue
            match event_of(row):
                case UsageReserved(star=attempt.star, attempt=attempt.number, call=call, tokens=tokens):
                    cost[call] = tokens
                case UsageSettled(star=attempt.star, attempt=attempt.number, call=call, usage=usage):
                    cost[call] = usage.tokens_in + usage.tokens_out
    return sum(cost.values())


def _bounded(node: Parts, llm: AgentLlm, attempt: AttemptId, instruction: Instruction, body: CompletionIn) -> Call:
    """Return the call with what it may cost at most; raise Problem where that is more than is left."""
    budget = node.runner.core.constellations[attempt.constellation].grant.budget
    if budget.money and llm.price is None:
        text = f"the budget is in money, and the price of {llm.model} is not known: it is set by GALAXY_LLM_PRICES"
        raise Problem(402, "budget-exhausted", text)
    prompt = [_form(body), *(message.content for message in body.messages)]
    tokens_in = sum(MESSAGE_TOKENS + _tokens(len(text.encode())) for text in prompt)
    used = node.lent.tokens[attempt]
    room = instruction.tokens_max - used - tokens_in
    if room < 1:
        text = (
            f"{attempt} has used {used} of its {instruction.tokens_max} tokens, and this prompt has about {tokens_in}"
        )
        raise Problem(402, "budget-exhausted", text)
    asked = min(body.max_completion_tokens or room, body.max_tokens or room)
    if body.max_completion_tokens is None and body.max_tokens is None:
        asked = ANSWER_TOKENS
    digest = hashlib.sha256("\n".join(prompt).encode()).hexdigest()
    return Call(secrets.token_hex(6), attempt, llm, tokens_in, min(asked, room), digest, node.now())


def _question(call: Call, body: CompletionIn, limits: tuple[str, ...]) -> bytes:
    """Return what the endpoint is sent: what is known of the body, and what the node says about it."""
    passed = body.model_dump(exclude_none=True, exclude=set(LIMITS))
    bounds = dict.fromkeys(limits, call.tokens_out)
    return msgspec.json.encode({**passed, "model": call.llm.model, "stream": False, **bounds})


def _form(body: CompletionIn) -> str:
    """Return the form in which the answer is wanted, as text; raise Problem if anything in the body cannot be sent."""
    try:
        msgspec.json.encode(body.model_dump())
        return msgspec.json.encode(body.response_format.model_dump() if body.response_format else "").decode()
    except UnicodeEncodeError as exc:
        raise Problem(422, "invalid-request", f"it holds half a character: {exc.reason}") from None


async def _reserve(node: Parts, call: Call) -> None:
    """Set aside what the call may cost; raise Refused over the budget."""
    event = UsageReserved(
        at=node.now(),
        constellation=call.attempt.constellation,
        call=call.id,
        tokens=call.tokens,
        money=call.money(call.tokens_in, call.tokens_out),
        star=call.attempt.star,
        attempt=call.attempt.number,
    )
    node.lent.add(call.attempt, call.tokens)  # before the first wait, so that no other call takes it too
    try:
        await node.tell(event)
    except (Refused, StoreUnavailable):
        node.lent.add(call.attempt, -call.tokens)
        raise


async def _asked(node: Parts, call: Call, body: CompletionIn) -> Heard:
    """Ask, and once more where the endpoint does not know how its answer is bounded; raise as `forwarded` does."""
    limits = node.lent.limits
    while True:
        heard = await forwarded(call.llm, _question(call, body, limits))
        following = limits_after(limits, heard)
        if not following:
            break
        limits = following
    if heard.status == 200:
        node.lent.limits = limits
    return heard


async def _heard(node: Parts, call: Call, device: str, body: CompletionIn) -> Heard:
    """Return what the endpoint says; settle the call and raise Problem if it is no answer."""
    try:
        heard = await _asked(node, call, body)
    except Unreached as exc:
        await _settle(node, call, 0, 0, error=f"unreached: {exc}")
        problem = Problem(502, "model-failed", "the model's endpoint cannot be reached")
    except TimeoutError:
        await _settle(node, call, call.tokens_in, call.tokens_out, error="timeout")
        problem = Problem(504, "model-timeout", f"the model has not answered within {call.llm.within_s:g} s")
    except Unheard as exc:
        await _settle(node, call, call.tokens_in, call.tokens_out, error=f"no answer: {exc}")
        problem = Problem(502, "model-failed", "the model's endpoint gave no whole answer")
    else:
        if heard.status == 200:
            return heard
        code = _code(call.llm, heard.body)
        await _settle(node, call, 0, 0, error=f"status {heard.status} {code}".strip())
        problem = _refused(heard, code)
    facts = {"attempt": str(call.attempt), "device": device, "reason": problem.detail}
    log.warning("no answer of the model", extra=facts)
    raise problem


async def _answered(node: Parts, call: Call, device: str, heard: Heard) -> Response:
    """Return the endpoint's answer as the device hears it, once what it cost is recorded."""
    try:
        said = msgspec.json.decode(heard.body, type=Completion)
    except (msgspec.DecodeError, UnicodeDecodeError):
        await _settle(node, call, call.tokens_in, call.tokens_out, error="not a chat completion")
        raise Problem(502, "model-failed", "the model's endpoint answered something else than it should") from None
    texts = "".join((choice.message.content or "") + (choice.message.refusal or "") for choice in said.choices)
    # An endpoint that does not count has its answer estimated as the prompt was.
    usage = said.usage or Counted(call.tokens_in, min(_tokens(len(texts.encode())), call.tokens_out))
    tokens_in, tokens_out = usage.prompt_tokens, usage.completion_tokens
    if tokens_out > call.tokens_out:  # the bound that it has taken is not one that it keeps to
        node.lent.limits = LIMITS
    await _settle(node, call, tokens_in, tokens_out, answer_sha256=hashlib.sha256(texts.encode()).hexdigest())
    facts = {"attempt": str(call.attempt), "device": device, "tokens_in": tokens_in, "tokens_out": tokens_out}
    log.info("the model answered", extra=facts)
    out = {
        "id": f"chatcmpl-{call.id}",
        "object": "chat.completion",
        "created": int(call.began_at),
        "model": call.llm.model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.message.content, "refusal": choice.message.refusal},
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(said.choices)
        ],
        "usage": {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        },
    }
    return Response(call.llm.without_key(msgspec.json.encode(out)), media_type="application/json")


async def _settle(
    node: Parts, call: Call, tokens_in: int, tokens_out: int, *, answer_sha256: str = "", error: str = ""
) -> None:
    """Record what the call did cost. Where that cannot be, what was set aside counts as spent; the answer stands."""
    usage = Usage(
        model=call.llm.model,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        money=call.money(tokens_in, tokens_out),
        took_s=round(node.now() - call.began_at, 3),
        prompt_sha256=call.prompt_sha256,
        answer_sha256=answer_sha256,
        error=error,
    )
    constellation, star, number = call.attempt
    event = UsageSettled(
        at=node.now(), constellation=constellation, call=call.id, usage=usage, star=star, attempt=number
    )
    try:
        await node.tell(event)
    except (Refused, StoreUnavailable, TimeoutError) as exc:  # the constellation may have ended meanwhile
        log.info("usage not settled", extra={"attempt": str(call.attempt), "reason": str(exc)})
    else:
        node.lent.add(call.attempt, tokens_in + tokens_out - call.tokens)


def _refused(heard: Heard, code: str) -> Problem:
    """Return the endpoint's refusal in the node's words: it may not want to be told again what it was told."""
    headers = {"Retry-After": heard.retry_after} if RETRY_AFTER.fullmatch(heard.retry_after) else None
    text = f"the model's endpoint answered {heard.status}" + (f" ({code})" if code else "")
    match heard.status:
        case 429:
            return Problem(429, "model-busy", text, headers=headers)
        case 408 | 504:
            return Problem(504, "model-timeout", text, headers=headers)
    return Problem(502, "model-failed", text, headers=headers)


def _code(llm: AgentLlm, body: bytes) -> str:
    """Return the code that a refusal gives, as far as it is one and not something that it repeats."""
    try:
        code = str(msgspec.json.decode(body, type=TroubleOut).error.code or "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return code if CODE.fullmatch(code) and not (llm.key and llm.key in code) else ""


def _tokens(size: int) -> int:
    return -(-size // BYTES_OF_A_TOKEN)
