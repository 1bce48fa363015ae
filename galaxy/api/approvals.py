"""Approvals: which calls wait for a person, the yes or no to one, and rules by which people say yes in advance."""

import json
import logging
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from ..core.attempt import AttemptId
from ..core.constellation import Constellation
from ..core.course import Approval, Course
from ..core.errors import Conflict, InvalidEdit, UnknownId
from ..core.events import ApprovalDenied, ApprovalGiven, RuleEnded, RuleMade
from ..core.rules import ANY, Rule
from ..core.star import INSTRUCT, Instruction
from . import schemas_approvals as schemas
from .constellations import BY
from .errors import READING, WRITING
from .idempotency import Once, OnceOnly
from .parts import Node, Parts, answer

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["approvals"], responses=READING)

LISTED_MAX = 1_000
PATTERN_BYTES_MAX = 16_384
HOUR_S = 3_600.0
PLAIN_KEY = re.compile(r"[\w.-]+")


@router.get("/approvals", response_model=schemas.ApprovalsOut)
async def list_approvals(node: Node, limit: Annotated[int, Query(ge=1, le=LISTED_MAX)] = 200) -> Response:
    """Return the calls that wait for a person, those that have waited longest first."""
    waiting = sorted(_waiting(node), key=lambda one: (one[2].asked_at, one[0].id, one[1].star.id))
    items = [_asked(*one) for one in waiting[:limit]]
    encoded = msgspec.json.encode({"items": items, "total": len(waiting), "at": node.now()})
    await node.durable()
    return Response(encoded, media_type="application/json")


@router.post(
    "/constellations/{constellation_id}/stars/{star_id}:approve", response_model=schemas.DecisionOut, responses=WRITING
)
async def approve(
    node: Node, once: OnceOnly, constellation_id: str, star_id: str, body: schemas.DecisionIn | None = None
) -> Response:
    """Let the call be made that waits for approval: this very one, and no other."""
    decision = body or schemas.DecisionIn()
    async with once.answering():
        (c, s, n), asked_at = await _attempt(node, constellation_id, star_id, decision)
        event = ApprovalGiven(
            at=node.now(), constellation=c, star=s, attempt=n, by=BY, reason=decision.reason, asked_at=asked_at
        )
        return await _decided(node, once, event, "approved", decision.reason)


@router.post(
    "/constellations/{constellation_id}/stars/{star_id}:deny", response_model=schemas.DecisionOut, responses=WRITING
)
async def deny(
    node: Node, once: OnceOnly, constellation_id: str, star_id: str, body: schemas.DecisionIn | None = None
) -> Response:
    """Refuse the call that waits for approval: its star has failed, and nobody looks for another way."""
    decision = body or schemas.DecisionIn()
    async with once.answering():
        (c, s, n), asked_at = await _attempt(node, constellation_id, star_id, decision)
        event = ApprovalDenied(
            at=node.now(), constellation=c, star=s, attempt=n, by=BY, reason=decision.reason, asked_at=asked_at
        )
        return await _decided(node, once, event, "denied", decision.reason)


@router.get("/rules", response_model=schemas.RulesOut)
async def list_rules(node: Node) -> Response:
    """Return the rules that hold: who made each, until when it holds, and what it lets through."""
    now = node.now()
    items = [_rule(rule) for rule in node.runner.core.fleet.rules.values() if rule.expires_at > now]
    await node.durable()
    return answer({"items": items})


@router.post(
    "/rules", status_code=201, response_model=schemas.RuleOut, responses={200: {"model": schemas.RuleOut}, **WRITING}
)
async def make_rule(node: Node, once: OnceOnly, body: schemas.RuleIn) -> Response:
    """Approve calls like these in advance, for some hours. Also those that are waiting already."""
    pattern = _pattern(body.pattern)
    if body.tool == INSTRUCT:
        raise InvalidEdit("what a model will do with an instruction is not known in advance; approve each", "/tool")
    async with once.answering():
        if body.device:
            node.runner.core.fleet.device(body.device)
        now = node.now()
        event = RuleMade(
            at=now,
            rule=f"rule-{secrets.token_hex(5)}",
            tool=body.tool,
            pattern=pattern,
            device=body.device or "",
            expires_at=now + body.hours * HOUR_S,
            by=body.owner or BY,
        )
        rule = Rule(event.rule, event.tool, event.pattern, event.device, now, event.expires_at, event.by)
        out = _rule(rule)
        await node.tell(event, once.answered(out))
    return answer(out, 201, {"Location": f"/v1/rules/{event.rule}"})


@router.delete("/rules/{rule_id}", response_model=schemas.RuleOut, responses=WRITING)
async def end_rule(node: Node, rule_id: str) -> Response:
    """End a rule: it approves nothing more. What it has approved goes on."""
    rule = node.runner.core.fleet.rules.get(rule_id)
    if rule is None:
        raise UnknownId("rule", rule_id)
    await node.tell(RuleEnded(at=node.now(), rule=rule_id, by=BY))
    return answer(_rule(rule))


def _waiting(node: Parts) -> Iterator[tuple[Constellation, Course, Approval]]:
    for c, course in node.runner.core.placer.asked():
        if course.approval and course.needs_approval and not c.cancelled:
            yield c, course, course.approval


def _asked(c: Constellation, course: Course, approval: Approval) -> dict[str, Any]:
    instruction = course.star.instruction
    return {
        "constellation": c.id,
        "name": c.name,
        "star": course.star.id,
        "title": course.star.title,
        "attempt": approval.attempt,
        "device": approval.device,
        "tool": approval.tool,
        "arguments": approval.arguments,
        "instruction": {"text": instruction.text, "tips": instruction.tips, "tools": _tools(instruction, approval)}
        if instruction
        else None,
        "effect": approval.effect,
        "asked_at": approval.asked_at,
        "expires_at": approval.expires_at,
    }


def _tools(instruction: Instruction, approval: Approval) -> Sequence[str]:
    """Return what the model may call: for an instruction that names nothing, what was found where it would run."""
    asked: dict[str, Any] = msgspec.json.decode(approval.arguments)
    tools: Sequence[str] = asked["tools"] if instruction.match else instruction.tools
    return tools


async def _attempt(
    node: Parts, constellation_id: str, star_id: str, decision: schemas.DecisionIn
) -> tuple[AttemptId, float]:
    """Return the attempt that is decided about, and when it was asked about; raise Problem or Refused if it was not.

    With that time, the decision is not taken for one about a question that is put later: than whoever decided has read,
    where they say so, and else than now.
    """
    found = await node.open_constellation(constellation_id)
    course = found.course(star_id)
    approval = course.approval if course.needs_approval else None
    if approval and decision.attempt in (None, approval.attempt):
        asked_at = approval.asked_at if decision.asked_at is None else decision.asked_at
        return AttemptId(constellation_id, star_id, approval.attempt), asked_at
    if decision.attempt is None:
        raise Conflict(f"{constellation_id}/{star_id} does not wait for approval")
    return AttemptId(constellation_id, star_id, decision.attempt), 0.0


async def _decided(
    node: Parts, once: Once, event: ApprovalGiven | ApprovalDenied, decision: str, reason: str
) -> Response:
    out = {
        "constellation": event.constellation,
        "star": event.star,
        "attempt": event.attempt,
        "decision": decision,
    }
    await node.tell(event, once.answered(out))
    attempt = AttemptId(event.constellation, event.star, event.attempt)
    log.info("decided", extra={"attempt": str(attempt), "decision": decision, "reason": reason})
    return answer(out)


def _pattern(sent: dict[str, Any]) -> msgspec.Raw:
    """Return the pattern as it is kept; raise InvalidEdit for one that cannot be."""
    try:
        encoded = msgspec.json.encode(sent)
    except UnicodeEncodeError as exc:
        raise InvalidEdit(f"the pattern holds half a character: {exc.reason}", "/pattern") from None
    if len(encoded) > PATTERN_BYTES_MAX:
        raise InvalidEdit(f"the pattern has {len(encoded)} bytes, at most {PATTERN_BYTES_MAX}", "/pattern")
    return msgspec.Raw(encoded)


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "tool": rule.tool,
        "pattern": rule.pattern,
        "device": rule.device or None,
        "made_at": rule.made_at,
        "expires_at": rule.expires_at,
        "by": rule.by,
        "allows": _in_words(rule),
    }


def _in_words(rule: Rule) -> str:
    pattern = msgspec.json.decode(rule.pattern)
    where = f"on {rule.device}" if rule.device else "on any device"
    if not pattern:
        return f"calls of {rule.tool} {where} without arguments"
    wishes = [f"{_key(key)} {'like' if _has_star(value) else 'is'} {_json(value)}" for key, value in pattern.items()]
    stars = " (* stands for any characters)" if _has_star(pattern) else ""
    return f"calls of {rule.tool} {where} whose arguments are no others than: {', '.join(wishes)}{stars}"


def _has_star(pattern: Any) -> bool:
    match pattern:
        case str():
            return ANY.search(pattern) is not None
        case dict():
            return any(map(_has_star, pattern.values()))
        case list():
            return any(map(_has_star, pattern))
    return False


def _key(key: str) -> str:
    """Return the key so that it cannot pass for more than a key."""
    return key if PLAIN_KEY.fullmatch(key) else _json(key)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
