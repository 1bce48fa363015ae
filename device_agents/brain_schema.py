"""Whether a JSON value fits a JSON Schema: the part of it that results are described with, and nothing is ignored.

check_schema(schema)   raise BadSchema when it says something that `misfit` would not look at
misfit(value, schema)  where the value does not fit and why, or nothing
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from protocol.pointer import PointerError, pointed

DEPTH_MAX = 40
PATTERN_CHARS_MAX = 200
STEPS_MAX = 100_000  # schemas that one value may be held against: alternatives within alternatives multiply

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: _is_number(value),
    "integer": lambda value: _is_number(value) and bool(value == value // 1),
}
_SILENT = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "format"),
    *("deprecated", "readOnly", "writeOnly"),
}
_ONE = {"items", "not", "additionalProperties"}  # whose value is a schema
_MANY = {"anyOf", "oneOf", "allOf"}
_NAMED = {"properties", "$defs", "definitions"}
_COUNTS = {"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"}
_BOUNDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
_KNOWN = _SILENT | _ONE | _MANY | _NAMED | _COUNTS | _BOUNDS
_KNOWN |= {"type", "enum", "const", "required", "pattern", "uniqueItems", "$ref"}


class BadSchema(ValueError):
    """A schema that cannot be followed, and why."""


def check_schema(schema: Any) -> None:
    """Raise BadSchema unless every word of the schema is one that a value is held against."""
    _check(schema, schema, 0)


def misfit(value: Any, schema: Any) -> str:
    """Return where and why the value does not fit a schema that was checked; empty when it fits. Raise BadSchema."""
    return next(_Fitting(schema).misfits(value, schema, "", 0), "")


def _check(schema: Any, root: Any, depth: int) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise BadSchema(f"{str(schema)[:80]!r} is not a JSON Schema")
    if depth > DEPTH_MAX:
        raise BadSchema(f"it is deeper than {DEPTH_MAX}")
    if unknown := sorted(schema.keys() - _KNOWN):
        raise BadSchema(f"this device does not know {', '.join(unknown)[:200]}")
    for word, said in schema.items():
        if not _is_well_said(word, said):
            raise BadSchema(f"{word} may not be {str(said)[:80]!r}")
        if word in _ONE:
            _check(said, root, depth + 1)
        elif word in _MANY or word in _NAMED:
            for inner in said.values() if isinstance(said, dict) else said:
                _check(inner, root, depth + 1)
        elif word == "$ref":
            _referred(said, root)
        elif word == "pattern":
            _matches("", said)


def _is_well_said(word: str, said: Any) -> bool:
    if word in _MANY:
        return isinstance(said, list) and bool(said)
    if word in _NAMED:
        return isinstance(said, dict)
    if word in _COUNTS:
        return isinstance(said, int) and not isinstance(said, bool)
    if word in _BOUNDS:
        return _is_number(said)
    match word:
        case "type":
            names = said if isinstance(said, list) else [said]
            return bool(names) and all(isinstance(name, str) and name in _TYPES for name in names)
        case "enum":
            return isinstance(said, list)
        case "required":
            return isinstance(said, list) and all(isinstance(name, str) for name in said)
        case "pattern":
            return isinstance(said, str) and len(said) <= PATTERN_CHARS_MAX
        case "uniqueItems":
            return isinstance(said, bool)
        case "$ref":
            return isinstance(said, str)
    return True


class _Fitting:
    """One value against one schema, within so many steps."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._left = STEPS_MAX

    def misfits(self, value: Any, schema: Any, at: str, depth: int) -> Iterator[str]:
        self._left -= 1
        if depth > DEPTH_MAX or self._left < 0:
            raise BadSchema("it takes too long to hold a value against it")
        if isinstance(schema, bool):
            if not schema:
                yield f"nothing may stand at {at or '/'}"
            return
        if "$ref" in schema:
            yield from self.misfits(value, _referred(schema["$ref"], self._root), at, depth + 1)
        where = at or "the result"
        yield from (f"{where} {why}" for why in _plain(value, schema))
        for one in self._alternatives(value, schema, at, depth + 1):
            yield f"{where} {one}"
        for inner in schema.get("allOf", ()):
            yield from self.misfits(value, inner, at, depth + 1)
        if isinstance(value, dict):
            yield from self._of_object(value, schema, at, depth + 1)
        elif isinstance(value, list) and "items" in schema:
            for number, item in enumerate(value):
                yield from self.misfits(item, schema["items"], f"{at}/{number}", depth + 1)

    def _fits(self, value: Any, schema: Any, depth: int) -> bool:
        return next(self.misfits(value, schema, "", depth), "") == ""

    def _alternatives(self, value: Any, schema: dict[str, Any], at: str, depth: int) -> Iterator[str]:
        if "anyOf" in schema and not any(self._fits(value, one, depth) for one in schema["anyOf"]):
            yield "fits none of what it may be"
        if "oneOf" in schema and sum(self._fits(value, one, depth) for one in schema["oneOf"]) != 1:
            yield "does not fit exactly one of what it may be"
        if "not" in schema and self._fits(value, schema["not"], depth):
            yield "is what it may not be"

    def _of_object(self, value: dict[str, Any], schema: dict[str, Any], at: str, depth: int) -> Iterator[str]:
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{at or 'the result'} has no {name[:80]!r}"
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        for name, item in value.items():
            if name in known:
                yield from self.misfits(item, known[name], f"{at}/{name[:80]}", depth)
            elif rest is False:
                yield f"{at or 'the result'} may not have {name[:80]!r}"
            else:
                yield from self.misfits(item, rest, f"{at}/{name[:80]}", depth)


def _plain(value: Any, schema: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the value itself, whatever is in it."""
    names = schema.get("type", ())
    names = [names] if isinstance(names, str) else names
    if names and not any(_TYPES[name](value) for name in names):
        yield f"is not of type {' or '.join(names)}"
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield "is not one of the values that it may be"
    if "const" in schema and not _same(value, schema["const"]):
        yield "is not the value that it must be"
    if _is_number(value):
        yield from _out_of_bounds(value, schema)
    for kind, least, most in (
        (str, "minLength", "maxLength"),
        (list, "minItems", "maxItems"),
        (dict, "minProperties", "maxProperties"),
    ):
        if isinstance(value, kind) and not schema.get(least, 0) <= len(value) <= schema.get(most, math.inf):
            yield f"has {len(value)} where {schema.get(least, 0)} to {schema.get(most, 'any number')} are wanted"
    if isinstance(value, str) and "pattern" in schema and not _matches(value, schema["pattern"]):
        yield f"does not match {schema['pattern']}"
    if isinstance(value, list) and schema.get("uniqueItems") and len({_key(item) for item in value}) < len(value):
        yield "has an item twice"


def _out_of_bounds(value: float, schema: dict[str, Any]) -> Iterator[str]:
    if value < schema.get("minimum", -math.inf) or value <= schema.get("exclusiveMinimum", -math.inf):
        yield f"is too small: {value}"
    if value > schema.get("maximum", math.inf) or value >= schema.get("exclusiveMaximum", math.inf):
        yield f"is too large: {value}"


def _referred(reference: str, root: Any) -> Any:
    """Return the schema that is named: the whole, or one of its definitions, which were checked with it."""
    if reference != "#" and not re.fullmatch(r"#/(\$defs|definitions)/[^/]+", reference):
        raise BadSchema(f"{reference[:80]!r} leads to no definition of this schema")
    try:
        return pointed(root, reference[1:])
    except PointerError as exc:
        raise BadSchema(str(exc)) from exc


def _matches(value: str, pattern: str) -> bool:
    """Return whether the pattern is found; CEL's expressions take linear time, those of Python may take for ever."""
    import cel  # not before it is needed: few schemas have patterns

    try:
        return bool(cel.evaluate("v.matches(p)", {"v": value, "p": pattern}))
    except (ValueError, RuntimeError, TypeError) as exc:
        raise BadSchema(f"the pattern {pattern!r} cannot be followed") from exc


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(one: Any, other: Any) -> bool:
    return bool(_key(one) == _key(other))


def _key(value: Any) -> Any:
    """Return something that compares as JSON does: true is not 1, and 1.0 is 1."""
    match value:
        case bool():
            return ("bool", value)
        case dict():
            return ("dict", frozenset((name, _key(item)) for name, item in value.items()))
        case list():
            return ("list", tuple(_key(item) for item in value))
    return value
