"""Outlines in Markdown: one step an item of a list. The grammar is in `docs/outline.md`.

step      number or bullet, [title ":"], {"@" device | "[" label "=" value "]"}, call, {clause}
call      tool, ({JSON object} | {key=value})    or    do "text" {key=value} [with tool {"," tool}]
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from protocol.vocabulary import NAME

from ..core.star import INSTRUCT, When
from .outline_source import Source
from .outline_values import IN_BRACES, Reader, json_at, of_json, plain
from .steps import (
    BEFORE,
    Call,
    Link,
    Loop,
    Mark,
    Outline,
    OutlineError,
    Reference,
    Step,
    Value,
    Words,
    fault,
    outline_of,
)

TOOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/~-]{0,119}")
RETRY_MAX = 100
WITHIN_S_MAX = 7 * 86_400.0

_HEAD = re.compile(r"(?:([0-9]{1,9})[.)]|[-*])(?=[ \t\r]|$)")
_ANSWER = re.compile(r"answer:(?=[ \t\r]|$)")
_TITLE = re.compile(r"([^{}\[\]\"=@`:]*(?::(?![ \t\r\n]|$)[^{}\[\]\"=@`:]*)*):(?=[ \t\r\n]|$)")
_BLANK = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[^ \t\r\n]+")
_KEY = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=")
_NUMBER = re.compile(r"[0-9]{1,9}(?![^ \t\r\n,])")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?![^ \t\r\n])")
_WITHIN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h)(?![^ \t\r\n])")
_LABEL = re.compile(r"\[([^\[\]=\n]*)=([^\[\]\n]*)\]")
_CONDITION = re.compile(r"`([^`]*)`")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_CLAUSES = "after 2; if 2 fails; for each X in step 2; or else tool; retry 2; within 30s; needs approval"
_VERBS = {"succeeds": When.SUCCESS, "fails": When.FAILURE, "ends": When.ALWAYS}


class _Item(NamedTuple):
    """One step's part of the text: where its marker is, what that says, and from where to where its words go."""

    head: int
    number: int | None  # None: a bullet
    start: int
    end: int


def parsed_text(text: str) -> Outline:
    """Return the outline; raise OutlineError."""
    source = Source(text)
    items, answers = _items(source)
    for item in items:
        if (item.number is None) != (items[0].number is None):
            message = "numbers and bullets are mixed: number all steps, as in `1.`, or none"
            raise fault(message, source.mark(item.head))
    if len(answers) > 1:
        raise fault("there is an answer already: write one `answer:` line", source.mark(answers[1].head))
    steps = [_StepReader(source, item, item.number or 0).step(nth) for nth, item in enumerate(items, 1)]
    return outline_of(steps, _answer(source, answers[0]) if answers else (), source.end)


def _items(source: Source) -> tuple[list[_Item], list[_Item]]:
    """Return the steps and the answers. An indented line belongs to what is above it; prose stands above all."""
    text, steps, answers = source.text, list[_Item](), list[_Item]()
    current: list[_Item] | None = None
    closed = False
    for start, line in zip(source.starts, text.split("\n"), strict=True):
        end = start + len(line)
        if head := _HEAD.match(line):
            number = int(head[1]) if head[1] else None
            steps.append(_Item(start, number, start + head.end(), end))
            current, closed = steps, False
        elif head := _ANSWER.match(line):
            answers.append(_Item(start, None, start + head.end(), end))
            current, closed = answers, False
        elif not line.strip():
            continue
        elif line.startswith("#"):
            closed = True  # a heading ends the step above it
        elif current and not closed and line[0] in " \t":
            current[-1] = current[-1]._replace(end=end)
        elif current:
            message = "this belongs to no step: indent it by two spaces, begin a step with it, or move it to the top"
            raise fault(message, source.mark(start))
    return steps, answers


def _answer(source: Source, item: _Item) -> tuple[str | Reference, ...]:
    words = source.text[item.start : item.end]
    text = " ".join(line.strip() for line in words.split("\n"))
    parts = Reader(lambda piece: source.find(piece, item.start, item.end)).parts(text.strip())
    if not parts:
        raise fault("an answer without words: write `answer: {2}`", source.mark(item.start))
    return tuple(parts)


@dataclass(slots=True)
class _StepReader:
    """Reads one step from left to right. `at` is where it is."""

    source: Source
    item: _Item
    number: int
    at: int = field(init=False)
    links: list[Link] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at = self.item.start

    def step(self, nth: int) -> Step:
        """Return the step; one without a number gets its place in the order."""
        number = nth if self.item.number is None else self.item.number
        head = self.source.mark(self.item.head)
        if number == 0:
            raise fault("steps are counted from 1: write `1.`", head)
        title = self._title()
        pinned, labels = self._pins()
        step = replace(self._call_of(number, head), title=title, labels=labels)
        if pinned:
            step = replace(step, device=pinned[0], device_mark=pinned[1])
        step = self._clauses(step)
        return replace(step, links=tuple(self.links))

    # What stands before the call.

    def _title(self) -> str:
        self._skip()
        match = _TITLE.match(self.source.text, self.at, self.item.end)
        if not match:
            return ""
        title = " ".join(match[1].split())
        if not title:
            raise self._fault("a title without words: write `Title:` before the tool, or leave the colon out")
        self.at = match.end()
        return title

    def _pins(self) -> tuple[tuple[str, Mark] | None, tuple[tuple[str, str], ...]]:
        device, labels = None, dict[str, str]()
        while (char := self._peek()) in ("@", "["):
            mark = self.source.mark(self.at)
            if char == "@":
                name = self._word()[1:]
                if device or not NAME.fullmatch(name):
                    raise fault("one device may be named, by its name: write `@laptop`", mark)
                device = (name, mark)
            else:
                key, value = self._label(mark)
                if key in labels:
                    raise fault(f"label {key} is asked for twice: write it once", mark)
                labels[key] = value
        return device, tuple(labels.items())

    def _label(self, mark: Mark) -> tuple[str, str]:
        match = _LABEL.match(self.source.text, self.at, self.item.end)
        if not match or not NAME.fullmatch(match[1].strip()) or not 0 < len(match[2].strip()) <= 500:
            raise fault("this is not a label: write `[zone=home]`", mark)
        self.at = match.end()
        return match[1].strip(), match[2].strip()

    # The call.

    def _call_of(self, number: int, head: Mark) -> Step:
        self._skip()
        mark = self.source.mark(self.at)
        if not self._takes("do"):
            return Step(number, head, self._call())
        self._skip()
        if self._peek() != '"':
            raise self._fault('what is to be done stands in quotes: write `do "tidy up" with file.list`')
        text = self._value("do")
        arguments = self._arguments()
        tools: list[str] = []
        if self._takes("with"):
            tools.append(self._tool())
            while self._takes(","):
                tools.append(self._tool())
        return Step(number, head, Call(INSTRUCT, arguments, mark), words=Words(text, tuple(tools)))

    def _call(self) -> Call:
        self._skip()
        mark = self.source.mark(self.at)
        tool = self._tool()
        self._skip()
        if self._peek() == "{":
            arguments = self._json()
            if not isinstance(arguments, dict):
                raise fault('arguments are an object: write `{"path": {"$from": 2}}` or `path={2}`', mark)
            return Call(tool, arguments, mark)
        return Call(tool, self._arguments(), mark)

    def _tool(self) -> str:
        self._skip()
        match = TOOL.match(self.source.text, self.at, self.item.end)
        if not match or not self._ends_at(match.end(), ","):
            raise self._fault("a tool's name is missing: write a call such as `file.read path=notes.txt`")
        self.at = match.end()
        return match[0]

    def _arguments(self) -> dict[str, Value]:
        arguments: dict[str, Value] = {}
        self._skip()
        while match := _KEY.match(self.source.text, self.at, self.item.end):
            if match[1] in arguments:
                raise self._fault(f"argument {match[1]} stands twice: write it once")
            self.at = match.end()
            arguments[match[1]] = self._value(match[1])
            self._skip()
        return arguments

    def _value(self, key: str) -> Value:
        """Return the value that begins here: JSON after a quote or bracket, and else a word."""
        text, start = self.source.text, self.at
        char = text[start : min(start + 1, self.item.end)]
        if char in ('"', "[") or (char == "{" and not IN_BRACES.match(text, start, self.item.end)):
            return self._json()
        match = _WORD.match(text, start, self.item.end)
        if not match:
            message = f"{key} has no value: write `{key}=value`, without blanks around the ="
            raise fault(message, self.source.mark(start))
        word = match[0]
        if any(char in word for char in '"`'):
            raise self._fault(f'quotes within a word: write `{key}="..."` with all of it in them')
        self.at = match.end()
        return Reader(lambda piece: self.source.find(piece, start, self.at)).value(plain(word))

    def _json(self) -> Value:
        start = self.at
        try:
            value, length = json_at(self.source.text[start : self.item.end], 0)
        except (ValueError, RecursionError) as exc:
            raise of_json(exc, self.source.mark(start + getattr(exc, "pos", 0))) from None
        end = start + length
        if not self._ends_at(end):
            self.at = end
            raise self._fault("something follows the value at once: write a blank between them")
        self.at = end
        return Reader(lambda piece: self.source.find(piece, start, end)).value(value)

    # What stands after the call.

    def _clauses(self, step: Step) -> Step:
        while self._peek():
            mark = self.source.mark(self.at)
            if self._takes("after"):
                self.links += self._after()
            elif self._takes("if"):
                self.links.append(self._if(mark))
            else:
                key, value = self._setting(mark)
                if getattr(step, key) not in (None, False):
                    raise fault("this was said already: write it once", mark)
                step = replace(step, **{key: value})
        return step

    def _setting(self, mark: Mark) -> tuple[str, Any]:
        if self._takes("for", "each"):
            return "loop", self._loop(mark)
        if self._takes("or", "else"):
            return "fallback", self._call()
        if self._takes("retry"):
            attempts = self._integer("how often to try at most: write `retry 3`")
            if not 1 <= attempts <= RETRY_MAX:
                raise fault(f"{attempts} attempts: write a number from 1 to {RETRY_MAX}", mark)
            return "attempts", attempts
        if self._takes("within"):
            return "within_s", self._within()
        if self._takes("needs", "approval"):
            return "needs_approval", True
        if self._peek() in ("@", "["):
            raise fault("devices and labels stand before the tool: write `@laptop system.info`", mark)
        raise fault(f"{self._word()[:40]!r} is not understood here: write key=value, or one of {_CLAUSES}", mark)

    def _after(self) -> Iterator[Link]:
        while True:
            self._skip()
            mark = self.source.mark(self.at)
            yield Link(self._step_number("write `after 2, 3`"), When.SUCCESS, mark)
            if not self._takes(","):
                return

    def _if(self, mark: Mark) -> Link:
        number = BEFORE
        if not any(self._sees(verb) for verb in (*_VERBS, "gives")):
            number = self._step_number("write `if 2 fails`")
        for verb, when in _VERBS.items():
            if self._takes(verb):
                return Link(number, when, mark)
        if not self._takes("gives"):
            raise self._fault("how must it end: write fails, succeeds, ends, or gives `result.ok`")
        self._skip()
        match = _CONDITION.match(self.source.text, self.at, self.item.end)
        if not match or not self._ends_at(match.end()):
            raise self._fault("a condition stands between backquotes: write gives `result.ok`")
        link = Link(number, When.CONDITION, self.source.mark(self.at + 1), match[1].strip())
        self.at = match.end()
        return link

    def _loop(self, mark: Mark) -> Loop:
        self._skip()
        match = _VARIABLE.match(self.source.text, self.at, self.item.end)
        if not match:
            raise self._fault("a loop needs a variable: write `for each X in step 2 /items`")
        self.at = match.end()
        if not self._takes("in"):
            raise self._fault("a loop needs a list: write `for each X in step 2 /items`")
        number = self._step_number("write `for each X in step 2 /items`")
        pointer = self._word() if self._peek() == "/" else ""
        return Loop(match[0], number, pointer, mark)

    def _within(self) -> float:
        self._skip()
        match = _WITHIN.match(self.source.text, self.at, self.item.end)
        seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if not match or not 0 < seconds <= WITHIN_S_MAX:
            raise self._fault("a time of at most a week: write `within 30s`, or with ms, m or h")
        self.at = match.end()
        return seconds

    # Steps of reading.

    def _skip(self) -> None:
        match = _BLANK.match(self.source.text, self.at, self.item.end)
        assert match, "nothing is a blank too"
        self.at = match.end()

    def _peek(self) -> str:
        """Return the next character that is no blank; nothing at the end."""
        self._skip()
        return self.source.text[self.at : min(self.at + 1, self.item.end)]

    def _ends_at(self, offset: int, also: str = "") -> bool:
        return offset >= self.item.end or self.source.text[offset] in f" \t\r\n{also}"

    def _word(self) -> str:
        self._skip()
        match = _WORD.match(self.source.text, self.at, self.item.end)
        assert match, "asked only where something stands"
        self.at = match.end()
        return match[0]

    def _sees(self, word: str) -> bool:
        """Whether the next word is this one."""
        self._skip()
        at_word = self.source.text.startswith(word, self.at, self.item.end)
        return at_word and (word == "," or self._ends_at(self.at + len(word)))

    def _takes(self, *words: str) -> bool:
        """Go past these words if they come next."""
        before = self.at
        for word in words:
            if not self._sees(word):
                self.at = before
                return False
            self.at += len(word)
        return True

    def _step_number(self, otherwise: str) -> int:
        if not self._takes("step"):
            self._takes("steps")
        self._skip()
        mark = self.source.mark(self.at)
        number = self._integer(f"a step's number is missing: {otherwise}")
        if number == BEFORE:
            raise fault(f"steps are counted from 1: {otherwise}", mark)
        return number

    def _integer(self, otherwise: str) -> int:
        self._skip()
        match = _NUMBER.match(self.source.text, self.at, self.item.end)
        if not match:
            raise self._fault(otherwise)
        self.at = match.end()
        return int(match[0])

    def _fault(self, message: str) -> OutlineError:
        self._skip()
        return fault(message, self.source.mark(self.at))
