"""How a device follows an instruction: what its model is asked next, and what each answer means. Sans-I/O.

    begin()          the first question                          -> Ask, or Fail
    feed(answer)     the model has answered                      -> Call, Finish, Ask again, or Fail
    heard(report)    the call that was wanted has ended          -> Ask, or Fail

It always ends: calls are at most `steps_max`, mistakes in a row at most MISTAKES_MAX, tokens about `tokens_max`.
What tools return is data: it is quoted so that nothing in it can end the quotation, and cut.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw, Struct

from protocol.messages import Report
from protocol.vocabulary import ARTIFACT, Outcome

from .brain_prompt import FINISH, GIVE_UP, RESULT_CHARS_MAX, RESULT_CHARS_OLD, RULES, Order, instruction, quoted
from .brain_schema import BadSchema, check_schema, misfit
from .tools.base import Tool

MISTAKES_MAX = 3  # answers in a row that cannot be followed
ANSWER_CHARS_MAX = 32_000
ANSWER_TOKENS_MAX = 4_000
THOUGHT_CHARS_MAX = 500
ARGUMENTS_CHARS_MAX = 16_000
FRESH_TURNS = 4  # whose results are said whole; older ones are cut, for each question says everything anew
CHARS_OF_A_TOKEN = 4  # where nobody counts: about so many in English
_TURN_TOKENS = 4  # what a message costs beside its text

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and what that cost where the endpoint says so."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model this; its answer must fit the schema."""

    messages: tuple[Message, ...]
    schema: dict[str, Any]
    tokens_max: int  # that the answer may have


@dataclass(frozen=True, slots=True)
class Call:
    """Run this tool as this step."""

    step: int
    tool: str
    arguments: Raw


@dataclass(frozen=True, slots=True)
class Finish:
    """The instruction is followed; the result fits its schema."""

    result: Raw


@dataclass(frozen=True, slots=True)
class Fail:
    """It is not, and will not be."""

    code: str
    message: str
    retryable: bool = False


@dataclass(slots=True)
class Turn:
    """Something that the model said, and what it was told thereupon: as it is, and shorter for later."""

    said: str
    told: str
    shorter: str


class _Said(Struct, frozen=True):
    """An answer as it is written."""

    tool: str
    arguments: Any = "null"  # text; what is given as a value is as good
    thought: str = ""


class _Mistake(Exception):
    """An answer that cannot be followed; the message is for the model. `code` is the failure if it stays so."""

    def __init__(self, message: str, code: str = "model_failed") -> None:
        super().__init__(message)
        self.code = code


class Thinking:
    """One instruction being followed. `tools` are those that the model may call, by name."""

    def __init__(self, order: Order, tools: Mapping[str, Tool]) -> None:
        self.steps = 0
        self.tokens_in = 0
        self.tokens_out = 0
        self._order = order
        self._tools = dict(tools)
        self._opening = instruction(order, list(self._tools.values()))
        self._turns: list[Turn] = []
        self._mistakes = 0
        self._calling = _Said("")

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    def begin(self) -> Ask | Fail:
        """Return the first question, unless the result could never be checked."""
        try:
            check_schema(self._order.output)
        except BadSchema as exc:
            return Fail("bad_arguments", f"instruct: the schema of the output: {exc}")
        return self._ask()

    def feed(self, answer: Answer) -> Call | Finish | Ask | Fail:
        """Return what the answer means."""
        self._count(answer)
        try:
            return self._meant(_read(answer.text))
        except _Mistake as exc:
            return self._again(answer.text, exc)

    def heard(self, report: Report) -> Ask | Fail:
        """Return what to ask after a call, which may have failed: the model is told how."""
        said = msgspec.json.encode(self._calling).decode()
        self._turns.append(
            Turn(
                said,
                quoted(self.steps, self._calling.tool, _found(report), RESULT_CHARS_MAX),
                quoted(self.steps, self._calling.tool, _found(report), RESULT_CHARS_OLD),
            )
        )
        return self._ask()

    def _meant(self, said: _Said) -> Call | Finish | Fail:
        if said.tool == FINISH:
            finish = Finish(self._fitting(said.arguments))
            self._mistakes = 0
            return finish
        if said.tool == GIVE_UP:
            return Fail("gave_up", f"the model gives up: {said.arguments[:1_000]}")
        if self.steps >= self._order.steps_max:
            return Fail("steps_exhausted", f"not done in {self._order.steps_max} steps")
        if said.tool not in self._tools:
            raise _Mistake(f"{said.tool[:80]!r} is no tool that you may call")
        arguments = self._arguments(said)
        if self.tokens >= self._order.tokens_max:
            return self._exhausted()
        self._mistakes = 0
        self.steps += 1
        self._calling = said
        return Call(self.steps, said.tool, arguments)

    def _arguments(self, said: _Said) -> Raw:
        if len(said.arguments) > ARGUMENTS_CHARS_MAX:
            raise _Mistake(f"the arguments have more than {ARGUMENTS_CHARS_MAX} characters")
        kind = self._tools[said.tool].Arguments
        try:
            document = _value_of(said.arguments)
            if not isinstance(document, dict):
                raise _Mistake("the arguments are no JSON object")
            if ARTIFACT not in said.arguments:  # else they are checked when what they refer to is there
                msgspec.json.decode(said.arguments, type=kind)
        except msgspec.DecodeError as exc:
            raise _Mistake(f"the arguments for {said.tool}: {exc}") from exc
        return Raw(said.arguments.encode())

    def _fitting(self, text: str) -> Raw:
        try:
            return self._checked(_value_of(text))
        except msgspec.DecodeError as exc:
            with suppress(_Mistake):
                return self._checked(text)  # where text will do, text without its quotes will
            raise _Mistake(f"the result: {exc}", "output_unfit") from exc

    def _checked(self, value: Any) -> Raw:
        try:
            why = misfit(value, self._order.output)
        except (BadSchema, RecursionError) as exc:
            raise _Mistake(f"the result: {exc}", "output_unfit") from exc
        if why:
            raise _Mistake(f"the result does not fit: {why}", "output_unfit")
        return Raw(msgspec.json.encode(value))

    def _again(self, text: str, mistake: _Mistake) -> Ask | Fail:
        self._mistakes += 1
        if self._mistakes >= MISTAKES_MAX:
            message = f"{self._mistakes} answers in a row could not be followed; the last: {mistake}"
            return Fail(mistake.code, message, retryable=True)
        told = f"That could not be followed: {str(mistake)[:1_000]}. Nothing was done. Answer again, as you were told."
        self._turns.append(Turn(text[:RESULT_CHARS_MAX] or "(nothing)", told, told))
        return self._ask()

    def _ask(self) -> Ask | Fail:
        messages = self._messages()
        left = self._order.tokens_max - self.tokens - _estimated(messages)
        if left <= 0:
            return self._exhausted()
        names = list(self._tools) if self.steps < self._order.steps_max else []
        return Ask(messages, _answer_schema([*names, FINISH, GIVE_UP]), min(left, ANSWER_TOKENS_MAX))

    def _messages(self) -> tuple[Message, ...]:
        messages = [{"role": "system", "content": RULES}, {"role": "user", "content": self._opening}]
        for number, turn in enumerate(self._turns, 1):
            told = turn.told if number > len(self._turns) - FRESH_TURNS else turn.shorter
            messages += [{"role": "assistant", "content": turn.said}, {"role": "user", "content": told}]
        left = self._order.steps_max - self.steps
        messages[-1]["content"] += f"\n\nSteps left: {left}." + ("" if left else f" Call {FINISH} or {GIVE_UP} now.")
        return tuple(messages)

    def _count(self, answer: Answer) -> None:
        """Count what the answer cost; nobody is believed who says that it cost nothing."""
        asked = answer.tokens_in if answer.tokens_in > 0 else _estimated(self._messages())
        self.tokens_in += asked
        self.tokens_out += answer.tokens_out if answer.tokens_out > 0 else _tokens_of(answer.text)

    def _exhausted(self) -> Fail:
        return Fail("tokens_exhausted", f"not done within {self._order.tokens_max:,} tokens; {self.tokens:,} are spent")


def _read(text: str) -> _Said:
    """Return what stands in the answer. A fence around it is no mistake: models like to draw one."""
    if len(text) > ANSWER_CHARS_MAX:
        raise _Mistake(f"the answer has more than {ANSWER_CHARS_MAX} characters")
    inner = text.strip()
    if inner.startswith("```"):
        inner = inner.strip("`").removeprefix("json").strip()
    try:
        said = msgspec.json.decode(inner.encode("utf-8", "replace"), type=_Said)
        if isinstance(said.arguments, str):
            return said
        return msgspec.structs.replace(said, arguments=msgspec.json.encode(said.arguments).decode())
    except (msgspec.DecodeError, RecursionError) as exc:
        raise _Mistake(f"the answer: {exc}") from exc


def _value_of(text: str) -> Any:
    """Return the JSON value; raise DecodeError, also for one that is nested too deeply to be looked at."""
    try:
        return msgspec.json.decode(text)
    except RecursionError as exc:
        raise msgspec.DecodeError("it is nested too deeply") from exc


def _found(report: Report) -> dict[str, Any]:
    """Return what the model is told of a call."""
    if report.outcome is Outcome.SUCCEEDED:
        return {"ok": True, "result": report.result}
    failure = report.failure
    told: dict[str, Any] = {"ok": False}
    if failure is not None:
        told |= {"code": failure.code, "message": failure.message}
    if report.outcome is Outcome.UNKNOWN:
        told["note"] = (
            "It was cut off in the middle. Whether it has had its effect, nobody knows: look before you go on."
        )
    return told


def _answer_schema(names: list[str]) -> dict[str, Any]:
    """Return the schema of an answer. Arguments travel as text: not every endpoint can follow every schema."""
    return {
        "type": "object",
        "properties": {
            "thought": {"type": "string", "maxLength": THOUGHT_CHARS_MAX},
            "tool": {"type": "string", "enum": names},
            "arguments": {"type": "string", "maxLength": ARGUMENTS_CHARS_MAX},
        },
        "required": ["thought", "tool", "arguments"],
        "additionalProperties": False,
    }


def _tokens_of(text: str) -> int:
    return -(-len(text) // CHARS_OF_A_TOKEN)


def _estimated(messages: tuple[Message, ...]) -> int:
    return sum(_tokens_of(message["content"]) + _TURN_TOKENS for message in messages)
