"""A constellation, a star or a device as plain values. The names are those of the API."""

from typing import Any

from ..core.attempt import Attempt
from ..core.constellation import Constellation
from ..core.course import Course
from ..core.explain import Wait
from ..core.fleet import Device
from ..core.goal import Consult, ConsultWhen
from ..core.orchestrator import Orchestrator
from ..core.star import Line, When
from ..core.states import FAILED

Picture = dict[str, Any]


def constellation(c: Constellation, core: Orchestrator | None) -> Picture:
    """Return all of a constellation. `core` explains what waits; without it, the constellation has ended."""
    return {
        **brief(c),
        "stars": [star(c, course, core) for course in c.courses.values()],
        "lines": [line(c, one) for sources in c.into.values() for one in sources.values()],
    }


def brief(c: Constellation) -> Picture:
    """Return a constellation without its stars and lines."""
    return {
        "id": c.id,
        "name": c.name,
        "state": c.state,
        "revision": c.revision,
        "by": c.by,
        "submitted_at": c.submitted_at,
        "ended_at": c.ended_at,
        "paused": c.paused or None,
        "cancelled": c.cancelled or None,
        "counts": c.counts(),
        "failures": [
            {"star": failed.star, "failure": failed.failure, "handled_by": failed.handled_by or None}
            for failed in (c.failures() if FAILED in {x.state for x in c.courses.values()} else ())
        ],
        **_planned(c),
    }


def question(consult: Consult) -> Picture:
    """Return an open question to the planner."""
    return {
        "number": consult.number,
        "facts": [{"kind": fact.kind, "at": fact.at, "star": fact.star or None} for fact in consult.facts],
        "opened_at": consult.opened_at,
        "deadline_at": consult.deadline_at,
        "held": list(dict.fromkeys(consult.held)),
        "refusals": consult.refusals,
    }


def _planned(c: Constellation) -> Picture:
    dialogue = c.dialogue
    spent = dialogue.spent
    return {
        "goal": c.goal.text if c.goal else None,
        "planner": c.planning.planner if c.goal or c.planning.when is not ConsultWhen.NEVER else None,
        "question": question(dialogue.consult) if dialogue.consult else None,
        "answer": dialogue.answers[0] if dialogue.answers else None,
        "reason": dialogue.ended_because or None,
        "spent": {
            "tokens": spent.tokens,
            "money": spent.money,
            "calls": spent.calls,
            "open_calls": len(spent.reserved),
        },
        "origin": c.origin or None,
    }


def star(c: Constellation, course: Course, core: Orchestrator | None) -> Picture:
    """Return a star as written, its course, and why it waits if it does."""
    written = course.star
    wait: Wait | None = core.explained(c, course) if core else None
    return {
        "id": written.id,
        "title": written.title,
        "tool": written.tool,
        "arguments": written.arguments,
        "needs": _plain(written.needs),
        "effects": written.effects,
        "verify": _plain(written.verify) if written.verify else None,
        "retry": _plain(written.retry),
        "timeouts": _plain(written.timeouts),
        "disconnect": _plain(written.disconnect),
        "priority": written.priority,
        "on_failure": written.on_failure,
        "on_success": written.on_success,
        "instruction": _plain(written.instruction) if written.instruction else None,
        "fallback": _plain(written.fallback) if written.fallback else None,
        "needs_approval": course.needs_approval,
        "held": bool(course.holds),
        "state": course.state,
        "stopping": course.stopping or None,
        "cause": course.cause or None,
        "result": course.result,
        "failure": course.failure,
        "ready_at": course.ready_at or None,
        "not_before": course.not_before or None,
        "ended_at": course.ended_at,
        "attempts": [attempt(one) for one in course.attempts],
        "wait": {"reason": wait.reason, "candidates": _candidates(wait.candidates), "refused": wait.refused}
        if wait
        else None,
    }


def attempt(one: Attempt) -> Picture:
    """Return one attempt, with why it was made on this device."""
    return {
        "number": one.number,
        "device": one.device,
        "purpose": one.purpose,
        "effect": one.effect,
        "leased_at": one.leased_at,
        "accepted_at": one.accepted_at,
        "ended_at": one.ended_at,
        "outcome": one.outcome or None,
        "failure": one.failure,
        "ran_s": one.ran_s,
        "note": one.note or None,
        "fraction": one.fraction,
        "beside": one.beside or None,
        "stopping": one.stopping or None,
        "stopping_at": one.stopping_at,
        "unconfirmed": one.unconfirmed,
        "late": one.late or None,
        "placement": {"candidates": _candidates(one.candidates), "refused": one.refused},
        "tools": one.tools,
    }


def line(c: Constellation, one: Line) -> Picture:
    """Return a line, and whether it holds if that is decided."""
    verdict = c.verdicts.get((one.source, one.target))
    return {
        "source": one.source,
        "target": one.target,
        "when": one.when,
        "condition": one.condition or None,
        "implied": one.implied,
        "met": verdict.met if one.when is When.CONDITION and verdict else None,
        "error": verdict.error or None if verdict else None,
    }


def device(one: Device, held: int) -> Picture:
    """Return a device with all that it says of its tools."""
    tools = [
        {
            "name": tool.name,
            "description": tool.description,
            "effect": tool.effect,
            "arguments": tool.arguments,
            "result": tool.result,
            "limits": tool.limits,
        }
        for tool in (one.profile.tools if one.profile else ())
    ]
    return {**device_brief(one, held), "tools": tools}


def device_brief(one: Device, held: int) -> Picture:
    """Return a device as lists show it: its tools by name, for their schemas are fifty times as long."""
    profile = one.profile
    return {
        "id": one.id,
        "presence": one.presence,
        "since": one.since,
        "reason": one.reason or None,
        "draining": one.draining or None,
        "suspected": one.suspected or None,
        "suspected_at": one.suspected_at,
        "wakes_at": one.wakes_at,
        "withdrawn": profile.withdrawn if profile else {},
        "joined_at": one.joined_at,
        "kind": profile.kind if profile else None,
        "agent": profile.agent if profile else None,
        "slots": one.slots,
        "held": held,
        "labels": profile.labels if profile else {},
        "vitals": _plain(one.vitals),
        "tools": [tool.name for tool in (profile.tools if profile else ())],
    }


def _candidates(candidates: tuple[Any, ...]) -> list[Picture]:
    return [
        {
            "device": c.device,
            "starts_in_s": round(c.starts_in_s, 3),
            "held": c.held,
            "slots": c.slots,
            "runs_s": round(c.runs_s, 3),
            "moves_s": round(c.moves_s, 3),
            "behind_s": round(c.behind_s, 3),
            "burden_s": round(c.burden_s, 3),
            "burden": c.burden or None,
        }
        for c in candidates
    ]


def _plain(policy: Any) -> Picture:
    """Return a policy with its defaults written out: a reader should not have to know them."""
    return {name: getattr(policy, name) for name in policy.__struct_fields__}
