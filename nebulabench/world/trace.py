"""The story of one seed, for people: what went wrong, what was recorded and what tools did, in the order of time."""

import json
from collections.abc import Iterator

from .history import Event, History
from .plan import Plan

SILENT = frozenset({"stream", "seq", "committed", "kind", "at", "constellation", "star", "attempt", "device"})
MORE_CHARS_MAX = 110


def story(plan: Plan, history: History) -> Iterator[str]:
    """Yield the lines."""
    crew = f"{len(plan.devices)} devices, a heartbeat each {plan.heartbeat_s:g} s"
    yield f"seed {plan.seed}, profile {plan.profile}: {crew}"
    for asked in plan.submissions:
        stars = ", ".join(f"{star.id} {star.tool}" for star in asked.stars) or "a goal"
        yield f"  {asked.constellation}: {stars}"
        lines = ", ".join(f"{line.source} -> {line.target} ({line.when})" for line in asked.lines)
        if lines:
            yield f"      {lines}"
    told = [(moment.at, 0, moment.text) for moment in history.moments]
    told += [(event["committed"], 1, _recorded(event)) for event in history.events]
    for run in history.runs:
        told.append((run.began_at, 2, f"    {run.process} begins {run.attempt} ({run.tool})"))
        if run.ended_at is not None:
            told.append((run.ended_at, 2, f"    {run.process} has ended {run.attempt}"))
    told += [(effect.at, 2, f"    {effect.device}: {effect.attempt} takes effect") for effect in history.effects]
    for at, _, text in sorted(told, key=lambda line: line[:2]):
        yield f"{at:10.3f}  {text}"


def _recorded(event: Event) -> str:
    star = f"/{event['star']}" if event.get("star") else ""
    number = f"#{event['attempt']}" if event.get("attempt") else ""
    device = f" {event['device']}" if event.get("device") else ""
    more = {key: value for key, value in event.items() if key not in SILENT and value}
    text = json.dumps(more)[:MORE_CHARS_MAX] if more and event["kind"] != "constellation_submitted" else ""
    return f"  [{event['stream']}{star}{number}{device}] {event['kind']} {text}"
