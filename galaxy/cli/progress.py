"""A constellation as its events tell it: what commands show while it runs."""

from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]

MARKS = {
    "waiting": ("·", "dim"),
    "ready": ("○", "cyan"),
    "leased": ("◔", "yellow"),
    "running": ("◑", "yellow"),
    "succeeded": ("●", "green"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "cancelled": ("⊘", "magenta"),
}
TERMINAL = frozenset({"succeeded", "failed", "skipped", "cancelled"})


@dataclass(slots=True)
class StarLine:
    """One star's line in a table."""

    id: str
    state: str = "waiting"
    device: str = ""
    attempts: int = 0
    runs: dict[int, float] = field(default_factory=dict)  # attempt -> seconds
    remark: str = ""

    @property
    def ran_s(self) -> float:
        return sum(self.runs.values())


@dataclass(slots=True)
class Watched:
    """A constellation, put together from a picture and the events after it."""

    id: str
    name: str = ""
    state: str = "running"
    stars: dict[str, StarLine] = field(default_factory=dict)

    def look(self, picture: dict[str, Any]) -> None:
        """Take over a full picture; what happened and cannot be told from one event is read there."""
        self.name, self.state = picture["name"], picture["state"]
        for star in picture["stars"]:
            line = self.stars.setdefault(star["id"], StarLine(star["id"]))
            line.state, line.attempts = star["state"], len(star["attempts"])
            if star["attempts"]:
                line.device = " > ".join(dict.fromkeys(attempt["device"] for attempt in star["attempts"]))
                line.runs = {attempt["number"]: attempt["ran_s"] for attempt in star["attempts"]}
            line.remark = _remark(star)

    def hear(self, event: Event) -> str:
        """Take over an event; return the line that tells it to someone who reads a log, or nothing."""
        star = self.stars.get(event.get("star", ""))
        match event["kind"]:
            case "star_leased" if star:
                star.state, star.device, star.attempts = "leased", event["device"], event["attempt"]
                purpose = " to verify" if event.get("purpose") == "verify" else ""
                return f"{star.id}: attempt {event['attempt']}{purpose} on {event['device']}"
            case "star_accepted" if star:
                star.state = "running"
            case "star_progressed" if star:
                star.remark = event["note"]
            case "star_reported" if star:
                return self._reported(star, event)
            case "lease_ended" | "star_failed" as kind if star:
                star.state, star.remark = "failed" if kind == "star_failed" else "ready", event["failure"]["message"]
                return f"{star.id}: {event.get('cause', 'failed')}: {star.remark}"
            case "constellation_edited":
                return self._edited(event)
            case "approval_requested" if star:
                star.remark = f"waits for approval: galaxy approve {self.id} {star.id}"
                return f"{star.id}: {star.remark}"
            case "approval_lapsed" if star:
                star.remark = f"is asked about anew, {event['device']} will not do it: {event['reason']}"
                return f"{star.id}: {star.remark}"
            case "approval_given" | "approval_denied" as kind if star:
                star.remark = f"{kind.removeprefix('approval_')} by {event['by']}"
                return f"{star.id}: {star.remark}"
            case "constellation_paused":
                return f"paused: {event['reason']}"
            case "line_judged":
                verdict = "holds" if event["met"] else "does not hold"
                error = f" ({event['error']})" if event.get("error") else ""
                return f"{event['source']} -> {event['target']}: the condition {verdict}{error}"
            case "constellation_ended":
                self.state = event["state"]
                return f"{self.name or self.id}: {self.state}"
        return planned(event)

    def _edited(self, event: Event) -> str:
        """Take over what an edit did to the stars that it names; what follows from it is read in the last picture."""
        for operation in event["edit"]["operations"]:
            match operation:
                case {"op": "add_star" | "supersede", "star": {"id": star_id}}:
                    self.stars.setdefault(star_id, StarLine(star_id))
                case {"op": "remove_star", "id": star_id}:
                    self.stars.pop(star_id, None)
                case {"op": "skip", "id": star_id} if star_id in self.stars:
                    self.stars[star_id].state = "skipped"
        reason = event["edit"].get("reason")
        return f"edited by {event.get('by') or 'somebody'}" + (f": {reason}" if reason else "")

    def _reported(self, star: StarLine, event: Event) -> str:
        star.runs[event["attempt"]] = event.get("ran_s", 0.0)
        if event["outcome"] == "succeeded":
            star.state, star.remark = "succeeded", ""
            return f"{star.id}: succeeded on {event['device']} in {event.get('ran_s', 0.0):.2f} s"
        failure = event.get("failure") or {"message": event["outcome"]}
        star.state, star.remark = "ready", gist(failure["message"])
        return f"{star.id}: {event['outcome']} on {event['device']}: {star.remark}"


def planned(event: Event) -> str:
    """Return the line that tells what passed between a constellation and its planner."""
    match event["kind"]:
        case "consult_opened":
            about = ", ".join(fact.get("star") or fact["kind"] for fact in event["facts"])
            return f"{event['planner']} is asked about {about}"
        case "answer_refused":
            return f"the answer was refused: {gist(event['reason'])}"
        case "consult_closed":
            said = gist(event.get("reason") or event["end"])
            return f"no answer: {said}. Next: galaxy get {event['constellation']}, then retry, skip, edit or resume"
        case "planner_thought":
            return f"the planner thinks: {gist(event['text'])}"
        case "goal_reached":
            return f"{event.get('by') or 'the planner'}: the goal is reached"
        case "goal_given_up":
            return f"{event.get('by') or 'the planner'} gives up: {gist(event['reason'])}"
    return ""


def gist(message: str) -> str:
    """Return the first and the last line of a message: what was tried, and what it came to."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else " ... ".join((lines[0], lines[-1])) if lines else ""


def _remark(star: dict[str, Any]) -> str:
    if star["state"] == "succeeded":
        return ""
    if star["failure"]:
        return gist(star["failure"]["message"])
    if star["cause"] or star["stopping"]:
        return str(star["cause"] or f"stopping: {star['stopping']}")
    return str(star["wait"]["reason"]) if star["wait"] else ""
