"""What a model may answer, as a JSON Schema: made for each question, so that it can name only what there is.

A new step stands under a key of its own, s1 to sN, and may point to stars that are there and to keys before its own:
new steps cannot form a cycle. All properties are required and nothing else is allowed, as OpenAI's strict mode wants
it; every text and list has its maximum, without which small models never come to an end; and what stands in many places
stands once under `$defs`, or llama.cpp's grammar would grow with each mention.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..core.star import INSTRUCT, When
from ..core.states import FAILED, HELD_BY_DEVICE, SUCCEEDED
from .contract import View

NAMES_MAX = 100  # in one enumeration; beyond it any name is allowed here, and refused by our own check
NAME_CHARS = 80
TITLE_CHARS = 40
VALUE_CHARS = 2_000  # llama.cpp refuses more repetitions
TEXT_CHARS = 1_000
POINTER_CHARS = 200
CONDITION_CHARS = 300
ARGUMENTS_MAX = 20
AFTER_MAX = 20
LISTED_MAX = 50
UPDATES_MAX = 20
PARTS_MAX = 20

Json = dict[str, Any]

DECISIONS = ("edit", "go_on", "done", "give_up")


@dataclass(frozen=True, slots=True)
class Menu:
    """The names that an answer may use, each list in the order of the view."""

    tools: tuple[str, ...]
    devices: tuple[str, ...]
    stars: tuple[str, ...]
    keys: tuple[str, ...]  # of new steps
    editable: tuple[str, ...] = ()
    held: tuple[str, ...] = ()  # failed, and kept for the answer
    replaceable: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    with_result: tuple[str, ...] = ()


def menu_of(view: View, steps_max: int) -> Menu:
    """Return what an answer to this view may name."""
    allowed_tools, allowed_devices = view.grant.tools, view.grant.devices
    stars = view.stars
    prefix = "s"
    while any(f"{prefix}{n}" in stars for n in range(1, steps_max + 1)):
        prefix = f"new_{prefix}"
    return Menu(
        tools=tuple(name for name in view.fleet.tools() if not allowed_tools or name in allowed_tools),
        devices=tuple(one.id for one in view.fleet.devices if not allowed_devices or one.id in allowed_devices),
        stars=tuple(stars),
        keys=tuple(f"{prefix}{n}" for n in range(1, steps_max + 1)),
        editable=tuple(name for name, star in stars.items() if star.editable),
        held=tuple(name for name, star in stars.items() if star.failure_held),
        replaceable=tuple(n for n, star in stars.items() if star.failure_held or star.state in HELD_BY_DEVICE),
        failed=tuple(name for name, star in stars.items() if star.state is FAILED or star.failure_held),
        with_result=tuple(name for name, star in stars.items() if star.state is SUCCEEDED),
    )


def plan_schema(menu: Menu) -> Json:
    """Return the schema of an answer to a goal: a thought, and the first steps."""
    return _closed(
        {"thought": _ref("text"), "steps": _object(_steps(menu, replacing=False))},
        _definitions(menu),
    )


def revise_schema(menu: Menu) -> Json:
    """Return the schema of an answer to what has happened."""
    of_updates = len(menu.keys) + 1  # such a star may point to all new steps
    update = {"star": _one_of(menu.editable), **_call(menu, of_updates), "after": _nullable(_after(menu, of_updates))}
    properties = {
        "thought": _ref("text"),
        "decision": {"type": "string", "enum": list(DECISIONS)},
        "reason": _ref("text"),
        "retry": _list_of(menu.held),
        "skip": _list_of(menu.editable),
        "remove": _list_of(menu.editable),
        "update": _array(_object(update), UPDATES_MAX if menu.editable else 0),
        "add": _object(_steps(menu, replacing=True)),
        "answer": _array(_part(menu), PARTS_MAX),
        "despite": _list_of(menu.failed),
    }
    return _closed(properties, _definitions(menu))


def _steps(menu: Menu, *, replacing: bool) -> Json:
    return {key: _nullable(_step(menu, n, replacing)) for n, key in enumerate(menu.keys, 1)}


def _step(menu: Menu, n: int, replacing: bool) -> Json:
    step: Json = {"name": _ref("name"), **_call(menu, n), "after": _after(menu, n)}
    if replacing and menu.replaceable:
        step["replaces"] = _nullable(_one_of(menu.replaceable))
    return _object(step)


def _call(menu: Menu, n: int) -> Json:
    """Return what a new step and a rewritten star have in common."""
    call: Json = {"tool": _ref("tool"), "arguments": _array(_argument(menu, n), ARGUMENTS_MAX)}
    if INSTRUCT in menu.tools:
        instruction = _object({"text": _ref("value"), "tools": _array(_ref("tool"), ARGUMENTS_MAX)})
        call["instruction"] = _nullable(instruction)
    call["device"] = _nullable(_ref("device")) if menu.devices else {"type": "null"}
    return {**call, "needs_approval": {"type": "boolean"}, "ask_after": {"type": "boolean"}}


def _argument(menu: Menu, n: int) -> Json:
    if not _has_source(menu, n):
        return _ref("literal")
    taken = _object({"name": _ref("argument"), "from": _ref(f"source_{n}"), "pointer": _ref("pointer")})
    return {"anyOf": [_ref("literal"), taken]}


def _after(menu: Menu, n: int) -> Json:
    if not _has_source(menu, n):
        return _array(_ref("name"), 0)
    line = {"star": _ref(f"source_{n}"), "when": _one_of([str(when) for when in When]), "condition": _ref("condition")}
    return _array(_object(line), AFTER_MAX)


def _has_source(menu: Menu, n: int) -> bool:
    return bool(menu.stars) or n > 1


def _part(menu: Menu) -> Json:
    words = _object({"text": _ref("text")})
    if not menu.with_result:
        return words
    return {"anyOf": [words, _object({"from": _one_of(menu.with_result), "pointer": _ref("pointer")})]}


def _definitions(menu: Menu) -> Json:
    defined: Json = {
        "text": _text(TEXT_CHARS),
        "value": _text(VALUE_CHARS),
        "name": _text(TITLE_CHARS),
        "argument": _text(NAME_CHARS),
        "pointer": _text(POINTER_CHARS),
        "condition": _text(CONDITION_CHARS),
        "tool": _one_of(menu.tools),
        "device": _one_of(menu.devices),
        "literal": _object({"name": _ref("argument"), "value": _ref("value")}),
    }
    for n in range(1, len(menu.keys) + 2):
        if _has_source(menu, n):
            defined[f"source_{n}"] = _one_of((*menu.stars, *menu.keys[: n - 1]))
    return defined


def _closed(properties: Json, defined: Json) -> Json:
    """Return the whole schema, with those definitions only that it uses."""
    used: dict[str, None] = {}
    pending = list(_references(properties))
    while pending:
        name = pending.pop()
        if name not in used:
            used[name] = None
            pending.extend(_references(defined[name]))
    return {**_object(properties), "$defs": {name: defined[name] for name in defined if name in used}}


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield str(value["$ref"]).removeprefix("#/$defs/")
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def _text(chars_max: int) -> Json:
    return {"type": "string", "maxLength": chars_max}


def _one_of(names: Iterable[str]) -> Json:
    listed = list(names)
    return {"type": "string", "enum": listed} if 0 < len(listed) <= NAMES_MAX else _text(NAME_CHARS)


def _list_of(names: tuple[str, ...]) -> Json:
    return _array(_one_of(names), min(len(names), LISTED_MAX))


def _array(items: Json, items_max: int) -> Json:
    return {"type": "array", "items": items, "maxItems": items_max}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
