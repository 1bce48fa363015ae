"""The tool that follows an instruction in words: it joins what thinks, the model that is asked, and other tools."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, assert_never

from msgspec import Raw, Struct

from protocol.vocabulary import Effect

from ..brain import Ask, Call, Fail, Finish, Thinking
from ..brain_model import Chat, Model
from ..brain_prompt import STEPS_MAX, TOKENS_MAX, Order
from ..desk import INSTRUCT
from ..errors import ToolFailed
from .base import Context, Steps, Tool

_SHOWN_CHARS = 120  # of a call's arguments, in a note


class Instruct:
    """Follow an instruction with this device's own model, which calls the tools that are named and no others."""

    name: ClassVar[str] = INSTRUCT
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {"steps_max": STEPS_MAX, "tokens_max": TOKENS_MAX}
    Arguments: ClassVar[type[Struct]] = Order
    Result: ClassVar[Any] = Any

    def __init__(self, model: Model) -> None:
        self._model = model

    async def run(self, arguments: Order, context: Context) -> Raw:
        steps = context.steps
        assert steps is not None, "an agent runs it"
        thinking = Thinking(arguments, _allowed(arguments, steps))
        try:
            async with self._model.opened(context.attempt) as chat:
                return await _Following(thinking, chat, steps, arguments.steps_max, context.progress).to_its_end()
        finally:
            context.progress(f"{thinking.steps} steps, {thinking.tokens:,} tokens", None)


@dataclass(frozen=True, slots=True)
class _Following:
    """One instruction being followed."""

    thinking: Thinking
    chat: Chat
    steps: Steps
    steps_max: int
    progress: Callable[[str, float | None], None]

    async def to_its_end(self) -> Raw:
        """Return the result; raise ToolFailed."""
        due: Ask | Call | Finish | Fail = self.thinking.begin()
        while True:
            match due:
                case Ask():
                    self._note(self.thinking.steps + 1, "thinking")
                    due = self.thinking.feed(await self.chat.answer(due))
                case Call():
                    due = await self._called(due)
                case Finish(result=result):
                    return result
                case Fail(code=code, message=message, retryable=retryable):
                    raise ToolFailed(code, message, retryable=retryable)
                case _:
                    assert_never(due)

    async def _called(self, call: Call) -> Ask | Fail:
        shown = bytes(call.arguments).decode()[:_SHOWN_CHARS]
        self._note(call.step, f"{call.tool} {shown}")

        def progress(note: str, _: float | None) -> None:
            self._note(call.step, note)

        return self.thinking.heard(await self.steps.run(call.step, call.tool, call.arguments, progress))

    def _note(self, step: int, words: str) -> None:
        self.progress(f"step {step}: {words}", min(step / self.steps_max, 1.0) if self.steps_max else None)


def _allowed(order: Order, steps: Steps) -> dict[str, Tool]:
    """Return what the model may call; raise ToolFailed when nothing is left of what it should be able to."""
    here = steps.tools()
    allowed = {name: here[name] for name in order.tools if name in here and name != INSTRUCT}
    if order.tools and not allowed:
        names = ", ".join(order.tools)[:500]
        raise ToolFailed("no_such_tool", f"this device has, or allows, none of {names}", retryable=True)
    return allowed
