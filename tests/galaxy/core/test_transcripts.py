"""Golden transcripts: a script of what happens, and everything that the core answered.

A line that is not indented is what happens: a time, a verb, its words. Indented lines are the answers: events that the
core added by itself, orders, refusals, and the states. REWRITE=1 records them; read the difference before you keep it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from galaxy.core.edit import AddLine, AddStar, AnyOperation, RemoveLine, RemoveStar, Retry, Skip, Supersede, UpdateStar
from galaxy.core.errors import InvalidEdit, Refused
from galaxy.core.events import (
    ApprovalRequested,
    AttemptRevoked,
    ConstellationEnded,
    ConsultClosed,
    ConsultOpened,
    EffectJudged,
    Event,
    LeaseEnded,
    LineJudged,
    NodeStarted,
    StarFailed,
    StopUnconfirmed,
)
from galaxy.core.goal import ConsultWhen, Goal, Planning
from galaxy.core.star import Disconnect, Line, OnFailure, OnSuccess, Star, Timeouts, Verify, When
from galaxy.core.star import Retry as RetryPolicy
from protocol.vocabulary import Effect, Failure

from . import helpers
from .helpers import Log, told

SCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
WHENS = {"": When.SUCCESS, "!": When.FAILURE, "*": When.ALWAYS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_transcript_is_what_the_core_says(script: Path):
    played = play(script.read_text("utf-8"))
    if os.environ.get("REWRITE"):
        script.write_text(played, "utf-8")

    assert script.read_text("utf-8") == played


def test_there_are_stories_enough_to_read():
    assert len(SCRIPTS) >= 8


def play(text: str) -> str:
    log, said = Log(), []
    for line in text.splitlines():
        if line.startswith("  "):
            continue
        said.append(line)
        if line and not line.startswith("#"):
            said += [f"  {answer}" for answer in answers(log, line)]
    return "\n".join(said) + "\n"


def answers(log: Log, line: str) -> Iterator[str]:
    clock, verb, *words = line.split()
    at, before = float(clock), len(log.events)
    orders = log.wait(at)
    told_by_clock = [told_of(event) for event in log.events[before:]] + told(orders)
    yield from (f"meanwhile {sentence}" for sentence in told_by_clock if sentence)
    try:
        before = len(log.events)
        events = [] if verb == "wait" else list(parsed(log, at, verb, words))
        orders = log.feed(*events)
    except InvalidEdit as refusal:
        yield f"refused at {refusal.place or 'the whole'}: {refusal}"
        return
    except Refused as refusal:
        yield f"refused: {refusal}"
        return
    yield from (sentence for event in log.events[before:] if event not in events and (sentence := told_of(event)))
    yield from told(orders)
    for name in dict.fromkeys(e.constellation for e in log.of(helpers.ConstellationSubmitted)):
        constellation = log.constellation(name)
        why = f" ({constellation.paused})" if constellation.paused and not constellation.end else ""
        yield f"{name} {constellation.state}{why}: " + " ".join(f"{s}={state}" for s, state in log.states(name).items())


def told_of(event: Event) -> str:
    """Return what the core decided by itself as a short sentence; leases are told by their orders."""
    match event:
        case LeaseEnded():
            return f"lease of {event.constellation}/{event.star}#{event.attempt} ended: {event.cause}"
        case StopUnconfirmed() | AttemptRevoked():
            name = f"{event.constellation}/{event.star}#{event.attempt}"
            return f"{'stop' if isinstance(event, StopUnconfirmed) else 'end'} of {name}: {event.reason}"
        case StarFailed():
            return f"{event.constellation}/{event.star} failed: {event.failure.code}"
        case LineJudged():
            return (
                f"line {event.source}>{event.target} {'holds' if event.met else 'does not hold'} {event.error}".rstrip()
            )
        case EffectJudged():
            return (
                f"the effect of {event.constellation}/{event.star} {'happened' if event.happened else 'did not happen'}"
            )
        case ConsultOpened():
            about = " ".join(f"{fact.kind}:{fact.star}".rstrip(":") for fact in event.facts)
            return f"question {event.constellation}/{event.consult} is opened: {about}"
        case ConsultClosed():
            return f"question {event.constellation}/{event.consult} is closed: {event.end}"
        case ApprovalRequested():
            return f"may {event.constellation}/{event.star}#{event.attempt} call {event.tool} at {event.device}?"
        case ConstellationEnded():
            causes = "".join(f", {f.star}: {f.failure.code} by {f.handled_by or 'nobody'}" for f in event.failures)
            return f"{event.constellation} ended: {event.state}{causes}"
    return ""


def parsed(log: Log, at: float, verb: str, words: list[str]) -> Iterator[Event]:
    match verb, words:
        case "submit", [name, *parts]:
            yield helpers.submit(*(piece for part in parts for piece in pieces(part)), c=name, at=at)
        case "edit", [name, *operations]:
            base = log.core.constellations[name].revision
            yield helpers.edit(*map(operation, operations), c=name, base=base, at=at, by="anna")
        case "device", [name, *options]:
            more = dict(option.split("=") for option in options)
            tools = tuple(more.pop("tools", "shell").split(","))
            effect = Effect(more.pop("effect", "idempotent"))
            yield from helpers.device(name, at, slots=int(more.pop("slots", 1)), tools=tools, effect=effect, **more)
        case "back", [name, *held]:
            effect = log.core.fleet.devices[name].profile
            yield helpers.connect(name, at, held=tuple(held), boot=f"boot-{at}", profile=effect)
        case "resumed", [name]:
            yield helpers.connect(name, at, resumed=True, profile=log.core.fleet.devices[name].profile)
        case (("disconnect" | "drain" | "revoke"), [name]):
            yield getattr(helpers, verb)(name, at)
        case (("pause" | "resume" | "cancel"), [name]):
            yield getattr(helpers, verb)(at, name)
        case "node-started", []:
            yield NodeStarted(at=at)
        case (("accept" | "stopped" | "unknown"), [attempt, "by", name]):
            yield getattr(helpers, verb)(attempt, at, by=name)
        case "done", [attempt, "by", name, *result]:
            yield helpers.done(attempt, at, by=name, result=msgspec.json.decode(" ".join(result) or "null"))
        case (("fail" | "reject"), [attempt, "by", name, *kind]):
            failure = Failure("busy", "try again", retryable=True) if kind else Failure("oops", "it broke")
            yield getattr(helpers, verb)(attempt, at, by=name, failure=failure)
        case _:
            yield answered(log, at, verb, words)


def answered(log: Log, at: float, verb: str, words: list[str]) -> Event:
    """Return what passes between a constellation, its planner and people."""
    match verb, words:
        case "goal", [name, *words_of_goal]:
            return helpers.submit(
                c=name, at=at, goal=Goal(" ".join(words_of_goal)), planning=Planning("x", when=ConsultWhen.ON_FAILURE)
            )
        case (("answer" | "stale-answer"), [name, number, *operations]):
            base = log.core.constellations[name].revision - (verb == "stale-answer")
            return helpers.answer(*map(operation, operations), to=int(number), base=base, at=at, c=name)
        case (("reach" | "give_up" | "refuse" | "close"), [name, number]):
            return getattr(helpers, verb)(to=int(number), at=at, c=name)
        case (("approve" | "deny"), [attempt]):
            return getattr(helpers, verb)(attempt, at)
    raise ValueError(f"{verb} {words}")


def pieces(text: str) -> Iterator[Star | Line]:
    """Yield a star, or a line: `a`, `a:retry=3,verify`, `a>b`, `a!>b` (failure), `a*>b` (always), `a?n>1>b`."""
    if ">" in text:
        yield line_of(text)
    else:
        yield star_of(text)


def line_of(text: str) -> Line:
    source, _, target = text.rpartition(">")
    if "?" in source:
        source, _, condition = source.partition("?")
        return Line(source, target, When.CONDITION, f"result.{condition}")
    kind = source[-1] if source[-1] in WHENS else ""
    return Line(source.removesuffix(kind), target, WHENS[kind])


def star_of(text: str) -> Star:
    name, _, options = text.partition(":")
    more: dict[str, Any] = {"retry": RetryPolicy(attempts=1), "disconnect": Disconnect(lost_after_s=60.0)}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        match key:
            case "retry":
                more["retry"] = RetryPolicy(attempts=int(value), backoff_s=10.0, jitter=False)
            case "verify":
                more["verify"] = Verify("look", "result == true")
            case "pause":
                more["on_failure"] = OnFailure.PAUSE
            case "consult":
                more["on_failure"] = OnFailure.CONSULT
            case "tell":
                more["on_success"] = OnSuccess.CONSULT
            case "approval":
                more["needs_approval"] = True
            case "from":
                more["arguments"] = {"x": {"$from": value}}
            case "run" | "queue":
                more["timeouts"] = Timeouts(**{f"{key}_s": float(value)})
            case "priority":
                more["priority"] = int(value)
            case _:
                more[key] = value
    return helpers.star(name, **more)


def operation(text: str) -> AnyOperation:
    """Return the operation written as `+a`, `-a`, `=a:title=new`, `+a>b`, `-a>b`, `retry.a`, `skip.a` or `a=>a2`."""
    if "=>" in text:
        old, _, new = text.partition("=>")
        return Supersede(old, star_of(new))
    kind, rest = text[0], text[1:]
    match kind, ">" in rest:
        case "+", True:
            return AddLine(line_of(rest))
        case "+", False:
            return AddStar(star_of(rest))
        case "-", True:
            return RemoveLine(line_of(rest).source, line_of(rest).target)
        case "-", False:
            return RemoveStar(rest)
        case "=", _:
            return UpdateStar(star_of(rest))
    verb, _, name = text.partition(".")
    return Retry(name) if verb == "retry" else Skip(name)
