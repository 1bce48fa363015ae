"""A tool's JSON Schemas in few words, for a model: `path: string; limit?: integer >= 1 (How many bytes at most.)`."""

from collections.abc import Iterator
from typing import Any

import msgspec

from protocol.vocabulary import ToolSpec

from .schema_check import dereferenced

DEPTH_MAX = 2
WORDS_CHARS = 120
CHOICES_SHOWN = 12
SIGNATURE_CHARS = 2_000
LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def of_arguments(tool: ToolSpec) -> str:
    """Return what the tool takes; what need not be given has a question mark."""
    return _signature(msgspec.json.decode(tool.arguments), described=True)


def of_result(tool: ToolSpec) -> str:
    """Return what the tool gives."""
    return _signature(msgspec.json.decode(tool.result), described=False)


def _signature(root: Any, *, described: bool) -> str:
    return _fields(root, root, 0, described=described)[:SIGNATURE_CHARS]


def _fields(schema: Any, root: Any, depth: int, *, described: bool) -> str:
    schema = dereferenced(schema, root)
    required, said = schema.get("required", ()), []
    for name, field in schema.get("properties", {}).items():
        words = _words(field, root) if described else ""
        said.append(f"{name}{'' if name in required else '?'}: {_type(field, root, depth)}{words}")
    return "; ".join(said)


def _type(schema: Any, root: Any, depth: int) -> str:
    schema = dereferenced(schema, root)
    if choices := schema.get("enum"):
        return "|".join(str(choice) for choice in choices[:CHOICES_SHOWN])
    if "anyOf" in schema:
        each = [_type(one, root, depth) for one in schema["anyOf"] if dereferenced(one, root).get("type") != "null"]
        return " or ".join(dict.fromkeys(each))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"[{_type(schema.get('items', {}), root, depth)}]"
    if kind == "object" and "properties" in schema and depth < DEPTH_MAX:
        return f"{{{_fields(schema, root, depth + 1, described=False)}}}"
    return " ".join([str(kind), *(f"{sign} {schema[key]}" for key, sign in LIMITS.items() if key in schema)])


def _words(schema: Any, root: Any) -> str:
    words = next(_descriptions(schema, root), "")
    return f" ({words[:WORDS_CHARS]})" if words else ""


def _descriptions(schema: Any, root: Any) -> Iterator[str]:
    for one in (schema, *dereferenced(schema, root).get("anyOf", ())):
        if isinstance(one, dict) and isinstance(one.get("description"), str):
            yield one["description"]
