"""Values in an outline: strict JSON, and references in braces. Both front ends read them here.

{2}  {2/pointer}    alone: the result of step 2, or what the pointer names in it
{X}  {X/pointer}    alone: the loop's item, or what the pointer names in it; in a longer text: that value, as text
{{2}}  {{X}}        the text itself, one pair of braces less; any other brace is a brace
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .steps import Mark, Mixed, OutlineError, Reference, Value, fault

DEPTH_MAX = 60  # the core follows bindings to 64 levels
INTEGERS = range(-(1 << 63), 1 << 64)  # that every JSON reader knows

REFERENCE = re.compile(r"\{([0-9]{1,9}|[A-Za-z_][A-Za-z0-9_]*)(/[^{}]*)?\}")
IN_BRACES = re.compile(rf"\{{({REFERENCE.pattern})\}}|{REFERENCE.pattern}")

Locate = Callable[[str], Mark]  # where a piece of the value stands in the outline, as near as is known


class NotJson(ValueError):
    """What strict JSON has no place for."""


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 20 else INTEGERS.stop
    if value not in INTEGERS:
        raise NotJson(f"{text[:30]} is too large a number")
    return value


def _decimal(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotJson(f"{text[:30]} is too large a number")
    return value


def _constant(text: str) -> float:
    raise NotJson(f"{text} is not a number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJson("a key stands twice in an object")
    return found


DECODER = json.JSONDecoder(
    parse_int=_integer, parse_float=_decimal, parse_constant=_constant, object_pairs_hook=_object
)


def json_at(text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that begins there and where it ends; raise ValueError, or RecursionError if too deep."""
    value, end = DECODER.raw_decode(text, start)
    return value, end


def plain(text: str) -> Any:
    """Return what a bare word means: a JSON number, true, false or null, and else the text itself."""
    try:
        value, end = json_at(text, 0)
    except (ValueError, RecursionError):
        return text
    return value if end == len(text) and not isinstance(value, dict | list | str) else text


@dataclass(frozen=True, slots=True)
class Reader:
    """Turns decoded values into values with references. `locate` says where a piece stands."""

    locate: Locate

    def value(self, value: Any, depth: int = 0) -> Value:
        """Return the value with its references found; raise OutlineError."""
        if depth > DEPTH_MAX:
            raise fault(f"deeper than {DEPTH_MAX} levels: write it flatter", self.locate(""))
        match value:
            case str():
                return self.text(value)
            case dict() if "$from" in value:
                return self._binding(value)
            case dict():
                return {self._key(key): self.value(item, depth + 1) for key, item in value.items()}
            case list():
                return [self.value(item, depth + 1) for item in value]
        scalar: bool | int | float | None = value
        return scalar

    def text(self, text: str) -> Value:
        """Return the text, or what its braces stand for."""
        self._check_characters(text)
        parts = self.parts(text)
        match parts:
            case []:
                return ""
            case [only]:
                return only
        for part in parts:
            if isinstance(part, Reference) and part.step is not None:
                message = (
                    f"a result cannot stand within a text: make {{{part}}} the whole value, "
                    f"or write {{{{{part}}}}} for the text itself"
                )
                raise fault(message, part.mark)
        return Mixed(tuple(parts))

    def parts(self, text: str) -> list[str | Reference]:
        """Return texts and references, in order; no two texts side by side, and none of them empty."""
        found: list[str | Reference] = []
        words, last = "", 0
        for match in IN_BRACES.finditer(text):
            literal, _, _, name, pointer = match.groups()
            words += text[last : match.start()] + (literal or "")
            last = match.end()
            if name:
                found += [words] if words else []
                words = ""
                found.append(Reference(_numbered(name), pointer or "", self.locate(match[0])))
        words += text[last:]
        return [*found, words] if words else found

    def _key(self, key: str) -> str:
        self._check_characters(key)
        return key

    def _check_characters(self, text: str) -> None:
        if bad := next((c for c in text if "\ud800" <= c <= "\udfff"), ""):
            raise fault(f"{bad!r} is half a character: write the whole one", self.locate(""))

    def _binding(self, value: dict[str, Any]) -> Reference:
        step, pointer = value["$from"], value.get("pointer", "")
        sound = type(step) is int and 0 <= step < 10**9 and isinstance(pointer, str)
        if not sound or value.keys() - {"$from", "pointer"}:
            message = 'this is not a reference: write {"$from": 2, "pointer": "/x"}, with the number of a step'
            raise fault(message, self.locate('"$from"'))
        return Reference(str(step), pointer, self.locate('"$from"'))


def _numbered(name: str) -> str:
    return str(int(name)) if name.isdecimal() else name


def of_json(exc: ValueError | RecursionError, mark: Mark) -> OutlineError:
    """Return the error for a value that is not JSON."""
    if isinstance(exc, RecursionError):
        return fault(f"deeper than {DEPTH_MAX} levels: write it flatter", mark)
    why = exc.msg if isinstance(exc, json.JSONDecodeError) else str(exc)
    return fault(f'this is not JSON ({why}): write it as in {{"path": "notes.txt", "limit": 10}}', mark)
