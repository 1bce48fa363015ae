"""Outlines in YAML: a mapping with `steps:`. It says the same as Markdown does; `docs/outline.md` lists the keys.

Only plain data: no anchors, aliases, tags or directives. A bare word is what it is in Markdown: JSON, or else text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from protocol.vocabulary import NAME

from ..core.star import INSTRUCT, When
from .outline_source import Source
from .outline_text import RETRY_MAX, TOOL, WITHIN_S_MAX
from .outline_values import DEPTH_MAX, Reader, plain
from .steps import BEFORE, Call, Link, Loop, Mark, Outline, Reference, Step, Value, Words, fault, outline_of

STEP_KEYS = (
    *("id", "title", "tool", "arguments", "instruction", "device", "labels", "after", "if", "for_each"),
    *("retry", "within_s", "fallback", "needs_approval"),
)
AROUND_ARGUMENTS = 4  # levels: the outline, its steps, the step, and what holds the arguments
ENDS = {"succeeds": When.SUCCESS, "fails": When.FAILURE, "ends": When.ALWAYS}

_IS_YAML = re.compile(r"^steps:(?:[ \t\r]|$)|\A\s*\{", re.M)
_OPENING = (
    *(yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken),
    *(yaml.BlockSequenceStartToken, yaml.BlockMappingStartToken),
)
_CLOSING = (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken, yaml.BlockEndToken)
_FORBIDDEN = {
    yaml.AnchorToken: "an anchor",
    yaml.AliasToken: "an alias",
    yaml.TagToken: "a tag",
    yaml.DirectiveToken: "a directive",
}

Fields = dict[str, tuple[Node, Node]]  # key -> the key's node and the value's


def is_yaml(text: str) -> bool:
    """Whether a line begins with `steps:`, or the whole with a brace."""
    return bool(_IS_YAML.search(text))


def parsed_yaml(text: str) -> Outline:
    """Return the outline; raise OutlineError."""
    source = Source(text)
    return _YamlReader(source).outline(_composed(source))


def _composed(source: Source) -> Node | None:
    try:
        depth = 0
        for token in yaml.scan(source.text, Loader=yaml.SafeLoader):
            depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
            if depth > DEPTH_MAX + AROUND_ARGUMENTS:  # the scanner looks at all open levels again for each token
                mark = source.mark(token.start_mark.index)
                raise fault(f"deeper than {DEPTH_MAX} levels: write it flatter", mark)
            if what := _FORBIDDEN.get(type(token)):
                mark = source.mark(token.start_mark.index)
                raise fault(f"{what} has no place in an outline: write the value out, or put it in quotes", mark)
        node: Node | None = yaml.compose(source.text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as exc:
        raise fault("a character that YAML does not know: leave it out", source.mark(exc.position)) from None
    except yaml.MarkedYAMLError as exc:
        at = exc.problem_mark or exc.context_mark
        where = source.mark(at.index) if at else source.end
        raise fault(f"this is not YAML ({exc.problem}): put texts with : or # in quotes", where) from None
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise fault(f"this is not YAML ({type(exc).__name__}): write it flatter, or in Markdown", source.end) from None
    return node


@dataclass(frozen=True, slots=True)
class _YamlReader:
    """Reads nodes, so that each mistake has its place."""

    source: Source

    def outline(self, root: Node | None) -> Outline:
        if not isinstance(root, MappingNode):
            raise fault("an outline in YAML is a mapping: write `steps:` and a list below it", self.source.mark(0))
        fields = self._fields(root, ("title", "steps", "answer"))
        if "steps" not in fields:
            raise fault("there are no steps: write `steps:` and a list below it", self._at(root))
        items = self._items(fields["steps"][1], "write `steps:` and below it a list of mappings, as in `- tool: ...`")
        steps = [self._step(item, nth) for nth, item in enumerate(items, 1)]
        return outline_of(steps, self._answer(fields), self.source.end)

    def _answer(self, fields: Fields) -> tuple[str | Reference, ...]:
        if "answer" not in fields:
            return ()
        node = fields["answer"][1]
        parts = self._reader(node).parts(self._text(node, 'write `answer: "{2}"`').strip())
        if not parts:
            raise fault('an answer without words: write `answer: "{2}"`', self._at(node))
        return tuple(parts)

    def _step(self, node: Node, nth: int) -> Step:
        fields = self._fields(node, STEP_KEYS)
        values = {key: value for key, (_, value) in fields.items()}
        number = self._whole(values["id"], 1, 10**9 - 1) if "id" in values else nth
        call, words = self._call_or_words(node, values)
        links = [*self._after(values.get("after")), *self._ifs(values.get("if"))]
        return Step(
            number,
            self._at(node),
            call,
            title=" ".join(self._text(values["title"], "write `title: some words`").split())
            if "title" in values
            else "",
            device=self._name(values["device"], "laptop") if "device" in values else "",
            device_mark=self._at(values.get("device", node)),
            labels=self._labels(values["labels"]) if "labels" in values else (),
            links=tuple(links),
            loop=self._loop(values["for_each"]) if "for_each" in values else None,
            words=words,
            fallback=self._call(values["fallback"]) if "fallback" in values else None,
            attempts=self._whole(values["retry"], 1, RETRY_MAX) if "retry" in values else None,
            within_s=self._seconds(values["within_s"]) if "within_s" in values else None,
            needs_approval="needs_approval" in values and self._flag(values["needs_approval"]),
        )

    def _call_or_words(self, node: Node, values: dict[str, Node]) -> tuple[Call, Words | None]:
        if ("tool" in values) == ("instruction" in values):
            raise fault("a step has either a tool or an instruction: write `tool: file.read`", self._at(node))
        arguments = self._arguments(values.get("arguments"))
        if "tool" in values:
            return Call(self._tool(values["tool"]), arguments, self._at(values["tool"])), None
        instruction = values["instruction"]
        fields = self._fields(instruction, ("text", "tools"))
        if "text" not in fields:
            raise fault("what is to be done is missing: write `text: tidy up`", self._at(instruction))
        text = fields["text"][1]
        self._text(text, "write `text: tidy up`")
        tools = self._items(fields["tools"][1], "write `tools: [file.list]`") if "tools" in fields else []
        words = Words(self._value(text), tuple(self._tool(tool) for tool in tools))
        return Call(INSTRUCT, arguments, self._at(instruction)), words

    def _call(self, node: Node) -> Call:
        fields = self._fields(node, ("tool", "arguments"))
        if "tool" not in fields:
            raise fault("the tool is missing: write `tool: file.read`", self._at(node))
        arguments = self._arguments(fields["arguments"][1] if "arguments" in fields else None)
        return Call(self._tool(fields["tool"][1]), arguments, self._at(fields["tool"][1]))

    def _arguments(self, node: Node | None) -> dict[str, Value]:
        if node is None:
            return {}
        value = self._value(node)
        if not isinstance(value, dict):
            raise fault("arguments are a mapping: write `arguments: {path: notes.txt}`", self._at(node))
        return value

    def _after(self, node: Node | None) -> Iterator[Link]:
        if node is None:
            return
        for item in node.value if isinstance(node, SequenceNode) else [node]:
            yield Link(self._whole(item, 1, 10**9 - 1), When.SUCCESS, self._at(item))

    def _ifs(self, node: Node | None) -> Iterator[Link]:
        for item in (node.value if isinstance(node, SequenceNode) else [node]) if node else []:
            fields = self._fields(item, ("step", "is", "gives"))
            number = self._whole(fields["step"][1], 1, 10**9 - 1) if "step" in fields else BEFORE
            if ("is" in fields) == ("gives" in fields):
                raise fault("write `if: {step: 2, is: fails}`, or `gives: result.ok` in place of `is`", self._at(item))
            if "gives" in fields:
                gives = fields["gives"][1]
                condition = self._text(gives, "write `gives: result.ok`").strip()
                yield Link(number, When.CONDITION, self._at(gives), condition)
                continue
            end = self._text(fields["is"][1], "write `is: fails`")
            if end not in ENDS:
                raise fault(f"{end[:40]!r} is no way to end: write {', '.join(ENDS)}", self._at(fields["is"][1]))
            yield Link(number, ENDS[end], self._at(item))

    def _loop(self, node: Node) -> Loop:
        fields = self._fields(node, ("var", "in", "pointer"))
        if not {"var", "in"} <= fields.keys():
            raise fault("write `for_each: {var: X, in: 2, pointer: /items}`", self._at(node))
        variable = self._text(fields["var"][1], "write `var: X`")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            raise fault(f"{variable[:40]!r} is no variable: write `var: X`", self._at(fields["var"][1]))
        pointer = self._text(fields["pointer"][1], "write `pointer: /items`") if "pointer" in fields else ""
        return Loop(variable, self._whole(fields["in"][1], 1, 10**9 - 1), pointer, self._at(node))

    def _labels(self, node: Node) -> tuple[tuple[str, str], ...]:
        labels = []
        for name, (key, value) in self._fields(node, None).items():
            text = self._text(value, 'write `labels: {zone: home}`, numbers in quotes as in "1"')
            if not NAME.fullmatch(name) or not 0 < len(text) <= 500:
                raise fault("this is not a label: write `labels: {zone: home}`", self._at(key))
            labels.append((name, text))
        return tuple(labels)

    # Nodes.

    def _fields(self, node: Node, known: tuple[str, ...] | None) -> Fields:
        """Return a mapping's fields by name; raise OutlineError for one that is not `known`, if that is given."""
        if not isinstance(node, MappingNode):
            names = ", ".join(known or ("name",))
            raise fault(f"this is not a mapping: write `key: value` with keys among {names}", self._at(node))
        fields: Fields = {}
        for key, value in node.value:
            name = self._text(key, "write a word as the key")
            if known is not None and name not in known:
                raise fault(f"there is no key {name[:40]!r}: write one of {', '.join(known)}", self._at(key))
            if name in fields:
                raise fault(f"key {name[:40]!r} stands twice: write it once", self._at(key))
            fields[name] = (key, value)
        return fields

    def _items(self, node: Node, otherwise: str) -> list[Node]:
        if not isinstance(node, SequenceNode):
            raise fault(f"this is not a list: {otherwise}", self._at(node))
        items: list[Node] = node.value
        return items

    def _value(self, node: Node) -> Value:
        return self._reader(node).value(self._plain(node, 0))

    def _plain(self, node: Node, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise fault(f"deeper than {DEPTH_MAX} levels: write it flatter", self._at(node))
        match node:
            case MappingNode():
                fields = self._fields(node, None)
                return {name: self._plain(value, depth + 1) for name, (_, value) in fields.items()}
            case SequenceNode():
                return [self._plain(item, depth + 1) for item in node.value]
        return self._scalar(node)

    def _scalar(self, node: Node) -> Any:
        assert isinstance(node, ScalarNode), "there are three sorts of nodes"
        if node.style is not None:
            return node.value
        return None if node.value in ("", "~") else plain(node.value)

    def _text(self, node: Node, otherwise: str) -> str:
        value = self._scalar(node) if isinstance(node, ScalarNode) else None
        if not isinstance(value, str):
            raise fault(f"this is not a text: {otherwise}", self._at(node))
        if "\0" in value:
            raise fault(f"a NUL is no text: {otherwise}", self._at(node))
        return value

    def _name(self, node: Node, example: str) -> str:
        name = self._text(node, f"write `{example}`")
        if not NAME.fullmatch(name):
            raise fault(f"{name[:40]!r} is not a name: write one such as `{example}`", self._at(node))
        return name

    def _tool(self, node: Node) -> str:
        tool = self._text(node, "write `tool: file.read`")
        if not TOOL.fullmatch(tool):
            raise fault(f"{tool[:40]!r} is not a tool's name: write one such as file.read", self._at(node))
        return tool

    def _whole(self, node: Node, least: int, most: int) -> int:
        value = self._scalar(node) if isinstance(node, ScalarNode) else None
        if type(value) is not int or not least <= value <= most:
            raise fault(f"this is not a number from {least} to {most}: write `{least}`", self._at(node))
        return value

    def _seconds(self, node: Node) -> float:
        value = self._scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= WITHIN_S_MAX:
            raise fault(f"this is not a time: write seconds up to {WITHIN_S_MAX:g}, as in `30`", self._at(node))
        return float(value)

    def _flag(self, node: Node) -> bool:
        value = self._scalar(node) if isinstance(node, ScalarNode) else None
        if not isinstance(value, bool):
            raise fault("this is neither true nor false: write `needs_approval: true`", self._at(node))
        return value

    def _reader(self, node: Node) -> Reader:
        start, end = node.start_mark.index, node.end_mark.index
        return Reader(lambda piece: self.source.find(piece, start, end))

    def _at(self, node: Node) -> Mark:
        return self.source.mark(node.start_mark.index)
