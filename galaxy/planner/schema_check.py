"""Whether a JSON value fits a JSON Schema, as far as a planner can tell before a device looks.

It knows the keywords that say what shape a value has, and leaves out `pattern`: a schema may come from a device, and
a regular expression of a stranger can keep this process busy for ever. What passes here the device checks again.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from ..core.binding import FROM

DEPTH_MAX = 64
SHOWN_CHARS = 80
NAMES_SHOWN = 12

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}
SIZES: dict[type[Any], tuple[str, str]] = {
    str: ("minLength", "maxLength"),
    list: ("minItems", "maxItems"),
    dict: ("minProperties", "maxProperties"),
}

Schema = Mapping[str, Any]


def mistakes_in(value: Any, schema: Schema, *, bindings: bool = False) -> list[str]:
    """Return what does not fit, each with its place; with `bindings`, one of them fits everywhere."""
    return list(_Check(schema, bindings).of(value, schema, "", 0))


def dereferenced(schema: Any, root: Schema) -> Schema:
    """Return the schema, or what it refers to within its root; an empty one, which all fits, where that is unknown."""
    for _ in range(DEPTH_MAX):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        place: Any = root
        for token in reference.removeprefix("#/").split("/") if reference.startswith("#/") else ("",):
            place = place.get(token) if isinstance(place, dict) else None
        schema = place
    return {}


def shown(value: Any) -> str:
    """Return a value as it stands in a message."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


class _Check:
    def __init__(self, root: Schema, bindings: bool) -> None:
        self._root = root
        self._bindings = bindings

    def of(self, value: Any, schema: Any, place: str, depth: int) -> Iterator[str]:
        schema = dereferenced(schema, self._root)
        if not schema or depth > DEPTH_MAX or (self._bindings and isinstance(value, dict) and FROM in value):
            return
        if (wrong := _wrong_type(value, schema)) is not None:
            yield f"{place or '/'}: {shown(value)} is not {wrong}"
            return
        if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
            yield f"{place or '/'}: {shown(value)} is none of {_names(schema['enum'])}"
            return
        if "const" in schema and not _same(value, schema["const"]):
            yield f"{place or '/'}: {shown(value)} is not {shown(schema['const'])}"
        yield from _limits(value, schema, place or "/")
        if isinstance(value, dict):
            yield from self._object(value, schema, place, depth)
        elif isinstance(value, list) and "items" in schema:
            for index, item in enumerate(value):
                yield from self.of(item, schema["items"], f"{place}/{index}", depth + 1)
        for every in schema.get("allOf", ()):
            yield from self.of(value, every, place, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                yield from self._nearest(value, schema[keyword], place, depth)

    def _object(self, value: dict[str, Any], schema: Schema, place: str, depth: int) -> Iterator[str]:
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{place or '/'}: {name} is missing"
        others = schema.get("additionalProperties", True)
        for name, item in value.items():
            if name in properties:
                yield from self.of(item, properties[name], f"{place}/{name}", depth + 1)
            elif others is False:
                yield f"{place or '/'}: there is no {shown(name)}; there is {_names(properties) or 'nothing'}"
            else:
                yield from self.of(item, others, f"{place}/{name}", depth + 1)

    def _nearest(self, value: Any, choices: Any, place: str, depth: int) -> Iterator[str]:
        """Yield the mistakes against the choice that the value comes closest to."""
        fitting = [one for one in choices if _wrong_type(value, dereferenced(one, self._root)) is None]
        if not fitting:
            wanted = [_wrong_type(value, dereferenced(one, self._root)) or "" for one in choices]
            yield f"{place or '/'}: {shown(value)} is not {' or '.join(dict.fromkeys(wanted))}"
            return
        tried = [list(self.of(value, one, place, depth + 1)) for one in fitting]
        yield from min(tried, key=len)


def _wrong_type(value: Any, schema: Schema) -> str | None:
    """Return the types that the value should have, if it has none of them."""
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else list(wanted or ())
    known = [name for name in names if name in TYPES]
    return " or ".join(known) if known and not any(_is(value, name) for name in known) else None


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):  # which Python counts among the numbers
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[name])


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _limits(value: Any, schema: Schema, place: str) -> Iterator[str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        for keyword, holds in LIMITS.items():
            if keyword in schema and not holds(value, schema[keyword]):
                yield f"{place}: {shown(value)} breaks {keyword} {schema[keyword]}"
    for kind, (least, most) in SIZES.items():
        if isinstance(value, kind):
            if len(value) < schema.get(least, 0):
                yield f"{place}: has {len(value)}, which breaks {least} {schema[least]}"
            if most in schema and len(value) > schema[most]:
                yield f"{place}: has {len(value)}, which breaks {most} {schema[most]}"


def _names(names: Any) -> str:
    shown_names = [name if isinstance(name, str) else shown(name) for name in names]
    more = len(shown_names) - NAMES_SHOWN
    return ", ".join(shown_names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
