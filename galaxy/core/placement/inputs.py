"""What a star's inputs weigh that travel as artifacts, and where they are."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from protocol.vocabulary import ARTIFACT, Outcome

from ..constellation import Constellation
from ..course import Course

_MARK = f'"{ARTIFACT}"'.encode()


class Input(NamedTuple):
    """Bytes that a star is bound to, and the device that made them."""

    device: str
    bytes: int


def inputs_of(c: Constellation, course: Course) -> tuple[Input, ...]:
    """Return the artifacts that come to the star by its bindings; each source counts once, with all that it made."""
    found = []
    for source in {binding.source: None for binding in course.star.bindings}:
        result = c.result_of(source)
        if result is not None and (size := artifact_bytes(result)):
            made = next((a for a in reversed(c.courses[source].attempts) if a.outcome == Outcome.SUCCEEDED), None)
            found.append(Input(made.device if made else "", size))
    return tuple(found)


def artifact_bytes(result: Raw) -> int:
    """Return how long the artifacts are together that a result names."""
    return sum(_sizes(msgspec.json.decode(result))) if _MARK in bytes(result) else 0


def _sizes(value: Any) -> Iterator[int]:
    """Yield the lengths that references in a result give, as far as they are lengths: a device may say anything."""
    stack = [value]
    while stack:
        match stack.pop():
            case dict() as document:
                size = document.get("bytes")
                if ARTIFACT in document and isinstance(size, int) and size > 0:
                    yield size
                stack += document.values()
            case list() as items:
                stack += items
