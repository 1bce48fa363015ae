"""How an endpoint is told to bound its answers, whichever field it knows."""

import json

import pytest

from tests.device_agents.endpoint import Refusal
from tests.galaxy.api.helpers import Node
from tests.galaxy.api.lent import ASK, Lending, bounded, lending
from tests.galaxy.api.problems import problem

pytestmark = pytest.mark.asyncio


def bounds(lent: Lending) -> list[dict[str, int]]:
    """Return how the endpoint was told to bound each answer."""
    return [{key: value for key, value in one.items() if key.startswith("max_")} for one in lent.server.asked]


@pytest.mark.parametrize(
    "asked", [{}, {"max_tokens": 70}, {"max_completion_tokens": 70}, {"max_tokens": 70, "max_completion_tokens": 90}]
)
async def test_whichever_bound_a_device_names_the_endpoint_is_told_in_each_way_it_may_know(
    node: Node, asked: dict[str, int]
):
    async with lending(node, "yes", tokens_max=500) as lent:
        assert (await lent.ask({"messages": ASK["messages"], **asked})).status_code == 200

        left = 500 - (lent.usage()[0]["tokens"] - lent.server.asked[0]["max_tokens"])
        assert bounds(lent) == [bounded(70 if asked else left)]


def refusing(message: str, param: str | None = None, status: int = 400) -> Refusal:
    return Refusal(status, json.dumps({"error": {"message": message, "param": param}}).encode())


OLD = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
TOGETHER = "max_tokens and max_completion_tokens cannot both be set"
STRICT = Refusal(422, b'{"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "extra inputs"}]}')


@pytest.mark.parametrize(
    ("refusals", "taken"),
    [
        ([refusing(OLD, "max_tokens")], "max_completion_tokens"),
        ([refusing(TOGETHER)], "max_completion_tokens"),
        ([STRICT], "max_tokens"),
        ([refusing("unknown field max_completion_tokens")], "max_tokens"),
        ([refusing(TOGETHER), refusing("unknown: max_completion_tokens")], "max_tokens"),
    ],
)
async def test_an_endpoint_that_refuses_one_bound_is_asked_with_the_other_from_then_on(
    node: Node, refusals: list[Refusal], taken: str
):
    async with lending(node, *refusals, "yes") as lent:
        assert [(await lent.ask()).status_code for _ in range(2)] == [200, 200]

        assert bounds(lent)[0] == bounded(100)
        assert bounds(lent)[len(refusals) :] == [{taken: 100}] * 2
        assert (await lent.spent())["calls"] == 2


async def test_without_any_bound_no_endpoint_is_asked(node: Node):
    async with lending(node, refusing("neither max_tokens nor max_completion_tokens is known here")) as lent:
        problem(await lent.ask(), 502, "model-failed")

        assert bounds(lent) == [bounded(100), {"max_completion_tokens": 100}, {"max_tokens": 100}]
        assert await lent.spent() == {"tokens": 0, "money": 0, "calls": 1, "open_calls": 0}


async def test_an_endpoint_that_says_more_than_it_may_is_told_each_bound_again(node: Node):
    async with lending(node, refusing(OLD, "max_tokens"), "yes") as lent:
        lent.server.usage = {"prompt_tokens": 20, "completion_tokens": 300}
        for _ in range(2):
            await lent.ask()

        assert bounds(lent) == [bounded(100), {"max_completion_tokens": 100}, bounded(100)]
