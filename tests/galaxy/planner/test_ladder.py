"""Who is asked, and in which order: the same in earnest as in a backtest."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from galaxy.core.edit import AddStar, Edit, Retry
from galaxy.core.events import FLEET, AnswerRefused, ConstellationEdited, ConstellationEvent, ConsultClosed, Event
from galaxy.core.goal import Answer, ConsultWhen, Fact, Goal, Planning
from galaxy.core.orchestrator import Orchestrator
from galaxy.journal import event_of
from galaxy.metrics import Metrics
from galaxy.planner.backtest import backtested
from galaxy.planner.consult import Consultations
from galaxy.planner.contract import Meter, Planner, View
from galaxy.planner.outline import Outline
from galaxy.planner.repair import Repair
from galaxy.runner import Runner
from galaxy.store.memory import MemoryStore
from protocol.vocabulary import Failure
from tests.galaxy.core.helpers import AGAIN, OOPS, device, fail, star, submit

pytestmark = pytest.mark.asyncio

WITHIN_S = 10.0


class Model:
    """A planner that knows an answer to everything."""

    async def plan(self, view: View, meter: Meter) -> Edit:
        return Edit((AddStar(star("planned")),), "a plan")

    async def revise(self, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
        return Edit((Retry("a"),), f"once more after {view.refusals or 'nothing'}")


PLANNERS: Mapping[str, Planner] = {"outline": Outline(), "llm": Model()}
TESTED: Mapping[str, Planner] = {**PLANNERS, "repair": Repair()}


class Answers(MemoryStore):
    """A store that says when a question has an end."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    async def append(self, batch: Any) -> None:
        await super().append(batch)
        if any(isinstance(event_of(row), ConstellationEdited | ConsultClosed | AnswerRefused) for row in batch.rows):
            self.closed.set()

    async def recorded(self, stream: str) -> list[Event]:
        return [event_of(row) for row in await self.events(stream, 0, 1_000)]


@asynccontextmanager
async def a_node(store: Answers) -> AsyncIterator[Runner]:
    """Lend a runner whose questions are answered in earnest."""
    runner = Runner(Orchestrator(), store, lambda: 3.0, Metrics())
    consultations = Consultations(runner, PLANNERS, lambda: 3.0)
    tasks = [asyncio.create_task(work) for work in (runner.run(), consultations.run())]
    try:
        yield runner
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def each(events: Sequence[Any]) -> AsyncIterator[Any]:
    for event in events:
        yield event


@pytest.mark.parametrize("goal", [None, Goal("1. shell")])
@pytest.mark.parametrize("failure", [AGAIN, OOPS], ids=lambda failure: failure.code)
@pytest.mark.parametrize("repair", [True, False])
@pytest.mark.parametrize("planner", sorted(TESTED))
async def test_a_node_and_a_backtest_ask_the_same_in_the_same_order(
    planner: str, repair: bool, failure: Failure, goal: Goal | None
):
    store, planning = Answers(), Planning(planner, ConsultWhen.ON_FAILURE, repair=repair, debounce_s=0.0)
    begun = submit(*([] if goal else [star("a")]), planning=planning, goal=goal)
    async with a_node(store) as runner:
        for event in (*device("laptop"), *device("tower"), begun):
            await runner.tell(event)
        if goal is None:
            held_by = runner.core.constellations["c"].courses["a"].attempts[0].device
            await runner.tell(fail("c/a#1", 2.0, by=held_by, failure=failure))
        async with asyncio.timeout(WITHIN_S):
            await store.closed.wait()

    log = [event for event in await store.recorded("c") if isinstance(event, ConstellationEvent)]
    found = await backtested((planner, TESTED[planner]), None, each(log), each(await store.recorded(FLEET)))
    shown = msgspec.json.decode(msgspec.json.encode(found))

    (question,) = shown["questions"]
    recorded, proposed = question["recorded"], question["proposed"]
    assert [proposed[key] for key in ("answer", "reason")] == [recorded[key] for key in ("answer", "reason")]
    assert (question["same"], recorded["refusals"]) == (True, [])
