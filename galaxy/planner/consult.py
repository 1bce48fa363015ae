"""Questions are put to planners here, and answers told to the core, which takes them or refuses them with reasons.

    carry_out(orders)   take questions in; never waits
    run()               put each to its planner, as many at a time as may be, until cancelled

Who is asked, the rules or the constellation's planner, is in `ladder`.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping

from ..core.edit import Edit
from ..core.errors import InvalidEdit, Refused, StaleConsult
from ..core.events import (
    AnswerRefused,
    ConstellationEdited,
    ConstellationEvent,
    ConsultClosed,
    GoalGivenUp,
    GoalReached,
    PlannerThought,
    UsageReserved,
    UsageSettled,
)
from ..core.goal import ConsultEnd, Done, GiveUp, Usage
from ..core.orders import AskPlanner, PlannerOrder
from ..runner import Runner
from .contract import NoAnswer, Planner, PlannerFailed, View
from .ladder import Said, answered
from .view import view_of

log = logging.getLogger(__name__)

CALLS_MAX = 32  # questions that are being answered at the same time
THOUGHT_CHARS_MAX = 2_000

Key = tuple[str, int]  # constellation, question


class Account:
    """The meter of one question: what it costs is recorded in its constellation."""

    def __init__(self, runner: Runner, now: Callable[[], float], constellation: str, consult: int) -> None:
        self._runner = runner
        self._now = now
        self._constellation = constellation
        self._consult = consult

    async def reserve(self, tokens: int, money: float) -> str:
        call = secrets.token_hex(6)
        event = UsageReserved(
            at=self._now(),
            constellation=self._constellation,
            call=call,
            tokens=tokens,
            money=money,
            consult=self._consult,
        )
        try:
            await self._runner.tell(event)
        except Refused as refusal:
            raise PlannerFailed(str(refusal)) from refusal
        return call

    async def settle(self, call: str, usage: Usage) -> None:
        event = UsageSettled(
            at=self._now(), constellation=self._constellation, call=call, usage=usage, consult=self._consult
        )
        try:
            await self._runner.tell(event)
        except Refused as refusal:  # the constellation has ended meanwhile
            log.info("usage not settled", extra={"constellation": self._constellation, "reason": str(refusal)})

    async def thought(self, text: str) -> None:
        event = PlannerThought(
            at=self._now(), constellation=self._constellation, consult=self._consult, text=text[:THOUGHT_CHARS_MAX]
        )
        try:
            await self._runner.tell(event)
        except Refused as refusal:
            raise PlannerFailed(str(refusal)) from refusal


class Consultations:
    """All questions that are being answered."""

    def __init__(self, runner: Runner, planners: Mapping[str, Planner], now: Callable[[], float]) -> None:
        self._runner = runner
        self._planners = planners
        self._now = now
        self._orders: deque[PlannerOrder] = deque()
        self._ordered = asyncio.Event()
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(CALLS_MAX)
        runner.ask = self.carry_out

    def carry_out(self, orders: list[PlannerOrder]) -> None:
        """Take the orders in."""
        self._orders.extend(orders)
        self._ordered.set()

    async def run(self) -> None:
        """Put questions to planners until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._ordered.wait()
                self._ordered.clear()
                while self._orders:
                    order = self._orders.popleft()
                    key = (order.constellation, order.consult)
                    if asked := self._asking.pop(key, None):
                        asked.cancel()
                    if isinstance(order, AskPlanner):
                        self._asking[key] = tasks.create_task(self._ask(key), name=f"ask {key[0]} {key[1]}")

    async def _ask(self, key: Key) -> None:
        async with self._places:
            c = self._runner.core.constellations.get(key[0])
            consult = c.dialogue.consult if c else None
            if c is None or consult is None or consult.number != key[1]:
                return
            view = view_of(self._runner.core, c, consult)
            meter = Account(self._runner, self._now, *key)
            try:
                said = await answered(c.planning, self._planners, view, consult.facts, meter)
            except NoAnswer as exc:
                event: ConstellationEvent | None = self._closed(key, ConsultEnd.NO_ANSWER, str(exc))
            except PlannerFailed as exc:
                event = self._closed(key, ConsultEnd.FAILED, str(exc))
            except Exception as exc:
                log.exception("a planner crashed", extra={"constellation": key[0], "consult": key[1]})
                event = self._closed(key, ConsultEnd.FAILED, f"{c.planning.planner} crashed: {type(exc).__name__}")
            else:
                event = self._event(key, view, said) if said else None
        if event:
            self._asking.pop(key, None)  # told in its own time: what follows from the answer does not cancel it
            await self._tell(key, event)

    def _event(self, key: Key, view: View, said: Said) -> ConstellationEvent:
        at, (constellation, consult) = self._now(), key
        match said.answer:
            case Edit() as edit:
                return ConstellationEdited(
                    at=at,
                    constellation=constellation,
                    base=view.revision,
                    edit=edit,
                    by=said.by,
                    consult=consult,
                    rebase=True,
                )
            case Done(answer=answer, despite=despite, reason=reason):
                return GoalReached(
                    at=at,
                    constellation=constellation,
                    consult=consult,
                    answer=answer,
                    despite=despite,
                    reason=reason,
                    by=said.by,
                )
            case GiveUp(reason=reason):
                return GoalGivenUp(at=at, constellation=constellation, consult=consult, reason=reason, by=said.by)

    def _closed(self, key: Key, end: ConsultEnd, reason: str) -> ConsultClosed:
        return ConsultClosed(at=self._now(), constellation=key[0], consult=key[1], end=end, reason=reason[:2000])

    async def _tell(self, key: Key, event: ConstellationEvent) -> None:
        """Tell the answer; if it is not taken, the reasons go back with the question."""
        try:
            await self._runner.tell(event)
        except StaleConsult as refusal:  # it is recorded as late
            log.info("late answer", extra={"constellation": key[0], "consult": key[1], "reason": str(refusal)})
        except Refused as refusal:
            place = f" (at {refusal.place})" if isinstance(refusal, InvalidEdit) and refusal.place else ""
            by = str(getattr(event, "by", ""))
            refused = AnswerRefused(
                at=self._now(), constellation=key[0], consult=key[1], reason=f"{refusal}{place}"[:2000], by=by
            )
            try:
                await self._runner.tell(refused)
            except Refused as gone:  # the constellation has ended meanwhile
                log.info("late answer", extra={"constellation": key[0], "consult": key[1], "reason": str(gone)})
