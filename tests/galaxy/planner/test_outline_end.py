"""What the outline planner says when nothing is left to do."""

from typing import Any

import msgspec
import pytest

from galaxy.core.edit import Edit
from galaxy.core.goal import Done, FactKind
from tests.galaxy.planner.outline_views import fact, planned, revised

ENDED = fact(FactKind.ENDED)
OF_LIST = fact(FactKind.SUCCEEDED, "s1")


@pytest.mark.asyncio
async def test_failures_are_left_to_others():
    alive = await planned("1. a")
    alive.fail("s1")

    assert await revised(alive, fact(FactKind.FAILED, "s1")) == Edit((), "nothing to add")


@pytest.mark.asyncio
async def test_an_outline_without_an_answer_ends_with_nothing_to_add():
    alive = await planned("1. a")
    alive.succeed("s1")

    assert await revised(alive, ENDED) == Edit((), "nothing to add")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("{1/x}", {"$from": "s1", "pointer": "/x"}),
        ("It is {1/x}.", {"$text": ["It is ", {"$from": "s1", "pointer": "/x"}, "."]}),
        ("{2}", [{"$from": "s2-1", "pointer": ""}]),
        ("all is well", "all is well"),
    ],
)
async def test_the_answer_is_texts_and_bindings(answer: str, told: Any):
    alive = await planned(f"1. a\n2. b x={{X}} for each X in step 1 /y\nanswer: {answer}")
    alive.succeed("s1", {"x": 1, "y": [1]})
    await revised(alive, OF_LIST)
    alive.succeed("s2-1", 1)

    done = await revised(alive, ENDED)

    assert isinstance(done, Done)
    assert msgspec.json.decode(done.answer) == told


@pytest.mark.asyncio
async def test_there_is_no_answer_where_something_failed_for_good():
    alive = await planned("1. a\n2. b\nanswer: {1}")
    alive.succeed("s1", 1)
    alive.fail("s2")

    assert await revised(alive, ENDED) == Edit((), "no answer: s2 failed")


@pytest.mark.asyncio
async def test_a_failure_that_another_step_made_up_for_does_not_keep_the_answer_back():
    alive = await planned("1. a\n2. b if fails\nanswer: {2}")
    alive.fail("s1")
    alive.succeed("s2", 1)

    assert isinstance(await revised(alive, ENDED), Done)


@pytest.mark.asyncio
async def test_there_is_no_answer_from_a_step_that_was_skipped():
    alive = await planned("1. a\n2. b if 1 fails\nanswer: {2}")
    alive.succeed("s1", 1)

    assert await revised(alive, ENDED) == Edit((), "no answer: s2 has no result")
