"""From the calls that a model writes to stars and lines; what is wrong with them is collected, not raised."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from protocol.pointer import PointerError, pointed, tokens
from protocol.vocabulary import ARTIFACT, NAME, ToolSpec

from ..core import star as stars
from ..core.binding import FROM, BindingError, bindings_in
from ..core.condition import compiled
from ..core.edit import AddLine, AddStar, AnyOperation, RemoveLine, Supersede, UpdateLine, UpdateStar
from ..core.star import INSTRUCT, Instruction, Needs, OnSuccess, Star, When
from .answer_schema import Menu
from .contract import View
from .schema_check import dereferenced, mistakes_in, shown

ID_CHARS = 60


class Argument(Struct, frozen=True, forbid_unknown_fields=True):
    """One argument of a call: a value as JSON text, or what stands in another star's result."""

    name: str
    value: str | None = None
    source: str | None = field(name="from", default=None)
    pointer: str = ""


class InstructionSaid(Struct, frozen=True, forbid_unknown_fields=True):
    """A subtask in words."""

    text: str
    tools: list[str] = []


class Line(Struct, frozen=True, forbid_unknown_fields=True):
    """What a star waits for, beside what it takes values from."""

    star: str
    when: When = When.SUCCESS
    condition: str = ""


class Call(Struct, frozen=True, kw_only=True):
    """What a device is to do."""

    tool: str
    arguments: list[Argument]
    instruction: InstructionSaid | None = None
    device: str | None = None
    needs_approval: bool = False
    ask_after: bool = False


class Steps:
    """One answer's calls, as they become stars. `mistakes` grows with each that is found."""

    def __init__(self, view: View, menu: Menu) -> None:
        self.view = view
        self.menu = menu
        self.mistakes: list[str] = []
        self._tools = {name: spec for name, spec in view.fleet.tools().items() if name in menu.tools}
        self._ids: dict[str, str] = {}  # a new step's key -> its star's id
        self._called: dict[str, str] = {name: seen.star.tool for name, seen in view.stars.items()}

    def name_all(self, names: Mapping[str, str]) -> None:
        """Give each new step the id of its star, made from its name and unlike any other."""
        taken = {*self.view.stars, *self.menu.keys}
        for key, name in names.items():
            stem = re.sub(r"[^a-z0-9._~]+", "-", name.lower()).strip("-._~")[:ID_CHARS] or key
            star_id, n = stem, 2
            while star_id in taken or not NAME.fullmatch(star_id):
                star_id, n = f"{stem}-{n}", n + 1
            taken.add(star_id)
            self._ids[key] = star_id

    def added(self, key: str, call: Call, replaces: str | None, place: str) -> list[AnyOperation]:
        """Return the operations that put a new star there, or in another's place."""
        star_id = self._ids[key]
        self._called[star_id] = call.tool
        if replaces is not None and replaces not in self.menu.replaceable:
            self.mistakes.append(f"{place}: {replaces} neither runs nor waits after a failure, so nothing replaces it")
            return []
        old = self.view.stars[replaces].star if replaces else None
        arguments, bindings = self._arguments(call, place, self.menu.keys[: self.menu.keys.index(key)])
        if replaces and any(binding.source == replaces for binding in bindings):
            self.mistakes.append(f"{place}: it takes a value from {replaces}, which it replaces")
        star = Star(
            id=star_id,
            tool=call.tool,
            arguments=arguments,
            bindings=bindings,
            needs=Needs(device=self._device(call, place)),
            on_success=OnSuccess.CONSULT if call.ask_after else None,
            instruction=self._instruction(call, place),
            # What a person wants to be asked about stays so, whoever takes its place.
            needs_approval=call.needs_approval or bool(old and old.needs_approval),
        )
        return [Supersede(replaces, star) if replaces else AddStar(star)]

    def updated(self, name: str, call: Call, after: Iterable[Line] | None, place: str) -> list[AnyOperation]:
        """Return the operations that say a star anew."""
        if name not in self.menu.editable:
            self.mistakes.append(f"{place}: {name} is no star that may be edited")
            return []
        self._called[name] = call.tool
        old = self.view.stars[name].star
        arguments, bindings = self._arguments(call, place, self.menu.keys, itself=name)
        device = self._device(call, place)
        star = msgspec.structs.replace(
            old,
            tool=call.tool,
            arguments=arguments,
            bindings=bindings,
            needs=msgspec.structs.replace(old.needs, device=device),
            on_success=OnSuccess.CONSULT if call.ask_after else old.on_success,
            instruction=self._instruction(call, place),
            needs_approval=call.needs_approval or old.needs_approval,
            # They were said of another call.
            effects=None,
            verify=None,
            fallback=None,
        )
        lines = [] if after is None else self._redrawn(name, star, list(self.lines(name, after, place)))
        return [UpdateStar(star), *lines]

    def lines(self, end: str, after: Iterable[Line], place: str) -> Iterator[stars.Line]:
        """Yield the lines into a new step or a star, one from each source."""
        target, seen = self._ids.get(end, end), set()
        before = self._keys_before(end)
        for n, line in enumerate(after):
            where = f"{place} after/{n}"
            source = self._known(line.star, before, where)
            if source is None or source in seen or source == target:
                if source in seen or source == target:
                    self.mistakes.append(f"{where}: {line.star} is named twice, or is the star itself")
                continue
            seen.add(source)
            conditional = line.when is When.CONDITION
            if conditional != bool(line.condition):
                self.mistakes.append(f"{where}: a condition goes with `when: condition`, and with nothing else")
                continue
            if conditional and (wrong := _wrong_condition(line.condition)):
                self.mistakes.append(f"{where}: {wrong}")
                continue
            yield stars.Line(source, target, line.when, line.condition)

    def _redrawn(self, name: str, star: Star, wanted: list[stars.Line]) -> list[AnyOperation]:
        now = {line.source: line for line in self.view.stars[name].sources}
        bound = {binding.source for binding in star.bindings}
        operations: list[AnyOperation] = []
        for line in wanted:
            was = now.get(line.source)
            if was is None or was.implied:
                operations.append(AddLine(line))
            elif (was.when, was.condition) != (line.when, line.condition):
                operations.append(UpdateLine(line))
        kept = {line.source for line in wanted} | bound
        gone = [line for line in now.values() if not line.implied and line.source not in kept]
        return [*operations, *(RemoveLine(line.source, name) for line in gone)]

    def _keys_before(self, end: str) -> tuple[str, ...]:
        keys = self.menu.keys
        return keys[: keys.index(end)] if end in keys else keys

    def _known(self, name: str, keys: Iterable[str], place: str) -> str | None:
        """Return the id of the star that is meant."""
        if name in self.view.stars:
            return name
        if name in keys and name in self._ids:
            return self._ids[name]
        self.mistakes.append(f"{place}: there is no star or earlier step {shown(name)}")
        return None

    def _device(self, call: Call, place: str) -> str:
        if not call.device:
            return ""
        if call.device not in self.menu.devices:
            self.mistakes.append(f"{place}: device {call.device} is not granted")
            return ""
        able = [one.id for one in self.view.fleet.devices if any(tool.name == call.tool for tool in one.tools)]
        if call.tool in self._tools and call.device not in able:
            self.mistakes.append(f"{place}: {call.device} has no tool {call.tool}; {', '.join(able)} can do it")
        return call.device

    def _instruction(self, call: Call, place: str) -> Instruction | None:
        if (call.tool == INSTRUCT) != (call.instruction is not None):
            self.mistakes.append(f"{place}: an instruction goes with the tool {INSTRUCT}, and with nothing else")
            return None
        if call.instruction is None:
            return None
        tools = call.instruction.tools
        unknown = [name for name in tools if name not in self._tools or name == INSTRUCT]
        self.mistakes += [f"{place} instruction: tool {name} is not granted" for name in unknown]
        return Instruction(call.instruction.text, tools=tuple(tools))

    def _arguments(
        self, call: Call, place: str, keys: Iterable[str], itself: str = ""
    ) -> tuple[Raw, tuple[stars.Binding, ...]]:
        """Return the call's arguments, and what they take from results."""
        spec = self._tools.get(call.tool)
        if spec is None:
            self.mistakes.append(f"{place}: tool {call.tool} is not granted; there are {', '.join(self._tools)}")
        schema = msgspec.json.decode(spec.arguments) if spec else {}
        document: dict[str, Any] = {}
        for argument in call.arguments:
            if argument.name in document:
                self.mistakes.append(f"{place}: argument {argument.name} is given twice")
            document[argument.name] = self._value(argument, schema, f"{place} {argument.name}")
        document = self._renamed(document, tuple(keys), place)
        if spec and call.tool != INSTRUCT:
            found = mistakes_in(document, schema, bindings=True)
            self.mistakes += [f"{place} arguments{mistake}" for mistake in found]
        try:
            bindings = bindings_in(document)
        except BindingError as exc:
            self.mistakes.append(f"{place} arguments{exc.place}: {exc}")
            bindings = ()
        for binding in bindings:
            if binding.source == itself:
                self.mistakes.append(f"{place}: it takes a value from itself")
            self._follow(binding, place)
        return Raw(msgspec.json.encode(document)), bindings

    def _value(self, argument: Argument, schema: Any, place: str) -> Any:
        if argument.source is not None:
            return {FROM: argument.source, "pointer": argument.pointer}
        text = argument.value or ""
        takes = dereferenced(dereferenced(schema, schema).get("properties", {}).get(argument.name, {}), schema)
        only_text = "string" in _types(takes, schema) and not {"object", "array"} & _types(takes, schema)
        try:
            value = msgspec.json.decode(text)
        except (ValueError, RecursionError) as exc:
            if only_text:  # models forget the quotes, and nothing else can be meant
                return text
            self.mistakes.append(f"{place}: the value is not JSON ({exc}); text stands in double quotes")
            return None
        misread = only_text and not isinstance(value, str | dict) and mistakes_in(value, takes)
        return text if misread else value

    def _renamed(self, value: Any, keys: tuple[str, ...], place: str) -> Any:
        """Return the arguments with the keys of new steps replaced by the ids of their stars."""
        match value:
            case {"$from": str(source), **rest}:
                return {FROM: self._known(source, keys, place) or source, **rest}
            case dict():
                return {key: self._renamed(item, keys, place) for key, item in value.items()}
            case list():
                return [self._renamed(item, keys, place) for item in value]
        return value

    def _follow(self, binding: stars.Binding, place: str) -> None:
        """Look whether a pointer can lead anywhere: in the result, or in what the tool says its result is."""
        seen = self.view.stars.get(binding.source)
        wrong = ""
        if seen and seen.result is not None:
            wrong = _wrong_pointer(seen.result, binding.pointer)
        elif spec := self._tools.get(self._called.get(binding.source, "")):
            wrong = "" if spec.name == INSTRUCT else _unknown_property(spec, binding.pointer)
        if wrong:
            self.mistakes.append(f"{place}: in the result of {binding.source}, {wrong}")


def _types(schema: Any, root: Any) -> set[str]:
    schema = dereferenced(schema, root)
    found = {schema["type"]} if isinstance(schema.get("type"), str) else set(schema.get("type", ()))
    found |= {"string" for one in schema.get("enum", ()) if isinstance(one, str)}
    return found.union(*(_types(one, root) for one in schema.get("anyOf", ())))


def _wrong_pointer(result: Raw, pointer: str) -> str:
    document = msgspec.json.decode(result)
    if isinstance(document, dict) and ARTIFACT in document:
        return ""  # the device follows it
    try:
        pointed(document, pointer)
    except PointerError as exc:
        return str(exc)
    return ""


def _unknown_property(spec: ToolSpec, pointer: str) -> str:
    """Return what is wrong if the pointer's first step is no property that the tool speaks of."""
    schema = msgspec.json.decode(spec.result)
    known = dereferenced(schema, schema).get("properties", {})
    first = next(iter(tokens(pointer)), None)
    if first is None or not known or first in known:
        return ""
    return f"there is no {shown(first)}: {spec.name} gives {', '.join(known)}"


def _wrong_condition(condition: str) -> str:
    try:
        compiled(condition)
    except ValueError as exc:
        return str(exc)
    return ""
