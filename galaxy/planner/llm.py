"""The planner that asks a language model. What it says is checked here, and what is wrong goes back to it, so often."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..core.edit import Edit
from ..core.goal import Answer, Fact
from .answer_schema import Json, Menu, menu_of, plan_schema, revise_schema
from .answers import BadAnswer, plan_from, revision_from
from .contract import Meter, PlannerFailed, View
from .prompt import plan_messages, repair_messages, revise_messages, template
from .provider import LlmSettings, Message, Pause, Provider, Question

T = TypeVar("T")
Read = Callable[[str, Json, View, Menu], T]


class Llm:
    """A planner. One for all constellations: it keeps nothing of them."""

    def __init__(self, settings: LlmSettings, chance: random.Random, pause: Pause = asyncio.sleep) -> None:
        self._settings = settings
        self._provider = Provider(settings, chance, pause)

    async def plan(self, view: View, meter: Meter) -> Edit:
        """Return the first steps towards the goal; raise PlannerFailed."""
        menu = self._menu(view)
        question = Question(template("plan").label, plan_messages(view), plan_schema(menu))
        return await self._answer(question, plan_from, view, menu, meter)

    async def revise(self, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
        """Return what the model makes of the facts; raise PlannerFailed."""
        menu = self._menu(view)
        question = Question(template("revise").label, revise_messages(view, facts), revise_schema(menu))
        return await self._answer(question, revision_from, view, menu, meter)

    def _menu(self, view: View) -> Menu:
        menu = menu_of(view, self._settings.steps_max)
        if not menu.tools:
            raise PlannerFailed("no device that is granted has a tool: connect one, or grant more")
        return menu

    async def _answer(self, question: Question, read: Read[T], view: View, menu: Menu, meter: Meter) -> T:
        within_s = self._settings.total_timeout_s
        try:
            async with asyncio.timeout(within_s):
                return await self._repaired(question, read, view, menu, meter)
        except TimeoutError as exc:
            raise PlannerFailed(f"{self._settings.model} gave no usable answer within {within_s:g} s") from exc

    async def _repaired(self, question: Question, read: Read[T], view: View, menu: Menu, meter: Meter) -> T:
        """Ask until the answer is usable. Only the last bad answer is shown: a prompt must not grow without end."""
        repairs: Sequence[Message] = ()
        money_counts = view.grant.budget.money > 0
        mistakes: list[str] = []
        for _ in range(self._settings.answers_max):
            asked = Question(question.prompt, [*question.messages, *repairs], question.schema)
            said = await self._provider.ask(asked, meter, money_counts=money_counts)
            try:
                if said.unusable:
                    raise BadAnswer([said.unusable])
                return read(said.text, question.schema, view, menu)
            except BadAnswer as exc:
                mistakes = exc.mistakes
                repairs = repair_messages("" if said.unusable else said.text, mistakes)
        raise PlannerFailed(
            f"{self._settings.model} gave no usable plan in {self._settings.answers_max} answers; "
            f"of the last: {'; '.join(mistakes)}"
        )
