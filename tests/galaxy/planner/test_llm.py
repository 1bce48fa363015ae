"""The llm planner from end to end: recorded answers over real HTTP, the real schema and checks, and a small sky."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from galaxy.core.edit import AddStar, Edit
from galaxy.core.goal import Budget, Done, Fact, FactKind, GiveUp, Goal, Grant
from galaxy.planner.contract import PlannerFailed, View
from galaxy.planner.llm import Llm
from galaxy.planner.provider import LlmSettings

from .replay import Exchange, Recording, ReplayServer, load_all, replaying
from .sky import Book, Sky, a_view, fleet

pytestmark = pytest.mark.asyncio

READ = {"name": "read it", "tool": "file.read", "arguments": [{"name": "path", "value": '"a"'}]}
PLAN = {"thought": "Read it.", "steps": {"s1": READ}}
WRONG = {"thought": "Read it.", "steps": {"s1": {**READ, "tool": "file.reed"}}}
VIEW = a_view()
ENDED = [Fact(FactKind.ENDED, 0.0)]


def settings(server: ReplayServer, **more: Any) -> LlmSettings:
    return LlmSettings(**{"base_url": server.url, "model": "replay", **more})


@asynccontextmanager
async def asked(*exchanges: Exchange, **more: Any) -> AsyncIterator[tuple[Llm, ReplayServer]]:
    async with replaying([Recording("Do it", list(exchanges))]) as server:
        yield Llm(settings(server, **more), random.Random(0)), server


async def plan(exchanges: Sequence[Exchange], view: View = VIEW, book: Book | None = None, **more: Any) -> Edit:
    async with asked(*exchanges, **more) as (llm, _):
        return await llm.plan(view, book or Book())


@pytest.mark.parametrize("recording", load_all(), ids=lambda recording: recording.name)
async def test_each_recorded_goal_is_reached_or_given_up_as_recorded(recording: Recording):
    sky, book, edits = Sky(recording.goal), Book(), 0
    async with replaying([recording]) as server:
        llm = Llm(settings(server), random.Random(0))
        sky.edit(await llm.plan(sky.view, book))
        for ends in recording.play:
            facts = sky.end(ends)
            assert facts, "the recording has an answer for each of its rounds"
            answer = await llm.revise(sky.view, facts, book)
            if isinstance(answer, Edit):
                edits += 1
                sky.edit(answer)

    assert (server.wrong, server.unused()) == ([], [])
    assert edits >= 1, "each goal needs a rewrite"
    assert {Done: "done", GiveUp: "gave_up"}.get(type(answer)) == recording.ends_as
    assert len(book.usages) == len(book.reserved) == len(recording.exchanges)


async def test_a_step_without_a_number_before_it_becomes_a_star_named_after_it():
    edit = await plan([Exchange(answer=PLAN)])

    assert edit.reason == "Read it."
    assert [(type(one), one.star.id, one.star.tool) for one in edit.operations] == [(AddStar, "read-it", "file.read")]  # type: ignore[union-attr]


async def test_an_unusable_answer_is_shown_to_the_model_with_all_its_mistakes():
    two = {"thought": "", "steps": {"s1": {**READ, "device": "vault"}, "s2": {**READ, "tool": "file.reed"}}}
    async with asked(Exchange(answer=two), Exchange(answer=PLAN)) as (llm, server):
        await llm.plan(VIEW, Book())

    told = server.asked[1]["messages"][-1]["content"]
    assert "vault" in told
    assert "file.reed" in told
    assert server.asked[1]["messages"][-2]["role"] == "assistant"


async def test_only_the_last_bad_answer_is_shown_so_that_prompts_do_not_grow():
    async with asked(Exchange(answer=WRONG), Exchange(answer=WRONG), Exchange(answer=PLAN)) as (llm, server):
        await llm.plan(VIEW, Book())

    assert [len(request["messages"]) for request in server.asked] == [2, 4, 4]


async def test_a_model_that_never_gets_it_right_fails_with_its_last_mistakes():
    with pytest.raises(PlannerFailed, match=r"in 2 answers.*file\.reed"):
        await plan([Exchange(answer=WRONG)] * 2, answers_max=2)


async def test_an_answer_that_was_cut_off_is_a_mistake_like_others():
    edit = await plan([Exchange(raw='{"thought": "wor', finish="length"), Exchange(expect=["cut off"], answer=PLAN)])

    assert len(edit.operations) == 1


async def test_an_empty_answer_is_a_mistake_like_others():
    with pytest.raises(PlannerFailed, match="it was empty"):
        await plan([Exchange(raw="")], answers_max=1)


async def test_money_that_is_limited_needs_a_price_and_says_which_setting():
    view = a_view(grant=Grant(budget=Budget(money=1.0)))

    with pytest.raises(PlannerFailed, match="GALAXY_LLM_PRICES"):
        await plan([], view)


async def test_a_planner_without_any_tool_says_so_before_it_asks_anybody():
    with pytest.raises(PlannerFailed, match="no device that is granted"):
        await plan([], a_view(fleet=fleet()))


async def test_the_time_for_all_repairs_together_is_limited():
    book = Book()

    with pytest.raises(PlannerFailed, match=r"within 0\.2 s"):
        await plan([Exchange(silent=True)], book=book, total_timeout_s=0.2)
    assert [usage.error for usage in book.usages] == ["CancelledError"]


async def test_a_question_that_nobody_waits_for_any_more_hangs_up_on_the_model():
    book = Book()
    async with asked(Exchange(silent=True)) as (llm, server), asyncio.timeout(10):
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(llm.plan(VIEW, book))
            await server.begun.wait()
            asking.cancel()
        await server.left.wait()

    assert asking.cancelled()
    assert [usage.error for usage in book.usages] == ["CancelledError"]


async def test_two_constellations_may_ask_at_the_same_time():
    recordings = [Recording(goal, [Exchange(answer=PLAN)]) for goal in ("The first goal", "The second goal")]
    async with replaying(recordings) as server:
        llm = Llm(settings(server), random.Random(0))
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(llm.plan(a_view(goal=Goal(r.goal)), Book())) for r in recordings]

    assert [len(one.result().operations) for one in both] == [1, 1]
    assert server.unused() == []


async def test_done_carries_the_answer_with_references_and_not_with_values():
    sky = Sky("Do it")
    answer = {
        "thought": "",
        "decision": "done",
        "reason": "There.",
        "answer": [{"from": "read-it", "pointer": "/size"}],
    }
    async with asked(Exchange(answer=PLAN), Exchange(answer=answer)) as (llm, _):
        sky.edit(await llm.plan(sky.view, Book()))
        facts = sky.end({"read-it": {"result": {"path": "a", "size": 3, "bytes": 3, "content": "abc"}}})
        done = await llm.revise(sky.view, facts, Book())

    assert facts == ENDED
    assert isinstance(done, Done)
    assert msgspec.json.decode(done.answer) == {"$from": "read-it", "pointer": "/size"}
