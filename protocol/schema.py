"""What the page on the protocol says of states and messages, made from the table and the classes themselves."""

from collections.abc import Iterator
from enum import EnumMeta
from inspect import cleandoc
from types import UnionType
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Raw, Struct

from .messages import CONTROL, NUMBERED, Message
from .states import DEVICE, GALAXY, TRANSITIONS
from .vocabulary import FRAME_BYTES_MAX, SUBPROTOCOL, ByeCode, Failure, Held, Profile, ToolSpec

EVERY = (*CONTROL, *NUMBERED)
VALUES = (Profile, ToolSpec, Held, Failure)  # that stand inside messages
NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Raw: "any JSON", type(None): "null"}


def states_table() -> str:
    """Return, as Markdown, who may say what in which state, and what state that leads to."""
    rows = ["| state | the device may say | Galaxy may say |", "|---|---|---|"]
    for state, rights in TRANSITIONS.items():
        told = {
            role: ", ".join(
                f"`{_tag(kind)}`" + (f" → {after}" if after is not state else "") for kind, after in moves.items()
            )
            for role, moves in rights.items()
        }
        rows.append(f"| **{state}** | {told[DEVICE] or 'nothing'} | {told[GALAXY] or 'nothing'} |")
    return "\n".join(rows)


def messages_table() -> str:
    """Return, as Markdown, each message with its sentence and its fields."""
    return "\n\n".join(_described(kind, _tag(kind), _nature(kind)) for kind in EVERY)


def values_table() -> str:
    """Return, as Markdown, the values that stand inside messages, and the codes of a goodbye."""
    codes = ", ".join(f"`{code}`" for code in ByeCode)
    return "\n\n".join([*(_described(kind, kind.__name__, "") for kind in VALUES), f"**ByeCode**: {codes}."])


def frame_schema() -> dict[str, Any]:
    """Return the JSON Schema of one frame."""
    messages, components = msgspec.json.schema_components([_without_raw_defaults(kind) for kind in EVERY])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": SUBPROTOCOL,
        "description": f"One WebSocket message, at most {FRAME_BYTES_MAX} bytes.",
        "type": "object",
        "properties": {
            "ack": {"type": "integer", "minimum": 0, "default": 0},
            "first": {"type": "integer", "minimum": 0, "default": 0},
            "messages": {"type": "array", "items": {"anyOf": list(messages)}, "default": []},
        },
        "$defs": components,
    }


def _described(kind: type[Struct], name: str, nature: str) -> str:
    rows = [f"**`{name}`**{nature}. {cleandoc(kind.__doc__ or '')}", "", "| field | is | without it |", "|---|---|---|"]
    rows += (f"| `{name}` | {is_a} | {default} |" for name, is_a, default in _fields(kind))
    return "\n".join(rows).replace("\n\n\n", "\n\n")


def _fields(kind: type[Struct]) -> Iterator[tuple[str, str, str]]:
    for field in msgspec.structs.fields(kind):
        if field.required:
            default = "refused"
        elif field.default_factory is not msgspec.NODEFAULT:
            default = f"`{msgspec.json.encode(field.default_factory()).decode()}`"
        else:
            default = f"`{msgspec.json.encode(field.default).decode()}`"
        yield field.name, _named(field.type), default


def _named(kind: Any) -> str:
    match get_origin(kind):
        case origin if origin is UnionType:
            return " or ".join(map(_named, get_args(kind)))
        case origin if origin is tuple:
            return f"list of {_named(get_args(kind)[0])}"
        case origin if origin is dict:
            return f"object of {_named(get_args(kind)[1])}"
    if isinstance(kind, EnumMeta) and kind is not ByeCode:
        return " or ".join(f"`{name.lower()}`" for name in kind.__members__)
    return NAMES.get(kind) or kind.__name__


def _nature(kind: type[Message]) -> str:
    says = [str(role) for role in (DEVICE, GALAXY) if any(kind in rights[role] for rights in TRANSITIONS.values())]
    return f" ({' or '.join(says)}, {'numbered' if kind in NUMBERED else 'not numbered'})"


def _tag(kind: type[Message]) -> str:
    return str(kind.__struct_config__.tag)


def _without_raw_defaults(kind: type[Message]) -> type[Struct]:
    """Return a copy whose defaults can stand in a schema; the default of raw JSON is always null."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        if isinstance(field.default, Raw):
            fields.append((field.name, Any, None))
        elif field.required:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, field.default))
    config = {"tag_field": "type", "tag": _tag(kind), "namespace": {"__doc__": kind.__doc__}}
    return msgspec.defstruct(kind.__name__, fields, **config)  # type: ignore[arg-type]
