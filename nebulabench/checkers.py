"""What must be true of a run that was broken on purpose, told from its events and from what its tools wrote.

Nothing here is shared with the code under test: events are plain JSON, effects are lines of a file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

Event = dict[str, Any]

TERMINAL = frozenset({"succeeded", "failed", "skipped", "cancelled"})


def violations(events: list[Event], stars: dict[str, str], effects: Iterable[str]) -> list[str]:
    """Return what was broken.

    `stars` are the final states, `effects` has a star's name for each time that it took effect.
    """
    return [
        *_gaps(events),
        *_attempts(events),
        *_effects(events, stars, Counter(effects)),
        *(
            f"{star} is {state}, and the constellation has ended"
            for star, state in stars.items()
            if state not in TERMINAL
        ),
    ]


def lost(seen: list[Event], recorded: list[Event]) -> list[str]:
    """Return the events that were once shown to a client and are not, or not the same, in the record."""
    kept = {event["seq"]: event for event in recorded}
    return [f"event {event['seq']} ({event['kind']}) was lost" for event in seen if kept.get(event["seq"]) != event]


def _gaps(events: list[Event]) -> Iterator[str]:
    for expected, event in enumerate(events, start=1):
        if event["seq"] != expected:
            yield f"event {expected} is missing"
            return


def _attempts(events: list[Event]) -> Iterator[str]:
    """Each attempt is leased once, to one device, and at most one end of it counts."""
    holder: dict[tuple[str, int], str] = {}
    verifications: set[tuple[str, int]] = set()
    ended: set[tuple[str, int]] = set()
    succeeded: set[str] = set()
    for event in events:
        attempt = (event.get("star", ""), event.get("attempt", 0))
        name = f"{attempt[0]}#{attempt[1]}"
        match event["kind"]:
            case "star_leased":
                if attempt in holder:
                    yield f"{name} was leased twice"
                if attempt[0] in succeeded:
                    yield f"{name} was leased after {attempt[0]} had succeeded"
                holder[attempt] = event["device"]
                if event.get("purpose") == "verify":
                    verifications.add(attempt)
            case "star_reported" | "lease_ended":
                if holder.get(attempt) != event["device"]:
                    yield f"{name} was ended by {event['device']}, held by {holder.get(attempt)}"
                if attempt in ended:
                    yield f"{name} ended twice"
                ended.add(attempt)
                if event.get("outcome") == "succeeded" and attempt not in verifications:
                    succeeded.add(attempt[0])
            case "effect_judged" if event["happened"]:
                succeeded.add(attempt[0])


def _effects(events: list[Event], stars: dict[str, str], effects: Counter[str]) -> Iterator[str]:
    for star, times in effects.items():
        if times > 1:
            yield f"{star} took effect {times} times"
    counted = {event["star"] for event in events if event.get("effect") == "once"}
    for star in sorted(counted):
        if stars[star] == "succeeded" and effects[star] != 1:
            yield f"{star} succeeded and took effect {effects[star]} times"
