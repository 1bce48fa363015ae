"""The node's model, lent to a device: what is passed on, what it costs, and where it ends."""

import asyncio
from typing import Any

import httpx2
import pytest

from galaxy.api.agent_model import CALLS_MAX, CALLS_OF_A_DEVICE_MAX, AgentLlm
from galaxy.api.app import build
from galaxy.api.gate import Rules
from galaxy.api.parts import Parts
from galaxy.core.attempt import AttemptId
from tests.device_agents.endpoint import Raw, Refusal
from tests.galaxy.api.helpers import URL, WITHIN_S, Node
from tests.galaxy.api.lent import ASK, CHAT, KEY, bounded, follower, lending, llm
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

BIG = {**ASK, "messages": [{"role": "user", "content": "x" * 3_000}]}  # about a thousand tokens


async def test_a_device_that_follows_an_instruction_is_answered_by_the_nodes_model(node: Node):
    async with lending(node, "tidy the desk") as lent:
        answer = await lent.ask()

        said = answer.json()
        assert answer.status_code == 200, answer.text
        assert (said["object"], said["model"]) == ("chat.completion", "small")
        assert said["choices"] == [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "tidy the desk", "refusal": None},
                "finish_reason": None,
            }
        ]
        assert said["usage"] == {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        assert lent.server.paths == ["/v1/chat/completions"]
        assert lent.server.headers[0]["Authorization"] == f"Bearer {KEY}"
        assert lent.server.asked == [{"model": "small", "stream": False, "messages": ASK["messages"], **bounded(100)}]


async def test_what_a_call_may_cost_is_set_aside_and_what_it_did_cost_recorded(node: Node):
    async with lending(node, "yes") as lent:
        await lent.ask()

        reserved, settled = lent.usage()
        assert (reserved["star"], reserved["attempt"], reserved["tokens"] > 100) == ("a", 1, True)
        assert (settled["call"], settled["star"], settled["attempt"]) == (reserved["call"], "a", 1)
        usage = settled["usage"]
        assert (usage["model"], usage["tokens_in"], usage["tokens_out"]) == ("small", 100, 10)
        assert usage["money"] == pytest.approx((100 * 1.0 + 10 * 2.0) / 1e6)
        assert len(usage["prompt_sha256"]) == len(usage["answer_sha256"]) == 64
        assert await lent.spent() == {"tokens": 110, "money": pytest.approx(120e-6), "calls": 1, "open_calls": 0}


async def test_what_may_be_passed_on_is_passed_on_as_it_is(node: Node):
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"default": None, "enum": [None, 1.5]}}}
    passed = {"response_format": form, "temperature": 0.5, "stop": ["\n", "end"], "seed": 7}
    async with lending(node, "yes") as lent:
        messages = [{"role": role, "content": "\u00e9\u00e9"} for role in ("system", "developer", "user", "assistant")]
        answer = await lent.ask({"messages": messages, "max_tokens": 50, **passed})

        assert answer.status_code == 200, answer.text
        assert lent.server.asked == [{"model": "small", "stream": False, "messages": messages, **bounded(50), **passed}]


async def test_an_answer_is_never_longer_than_what_is_left_of_the_instructions_tokens(node: Node):
    async with lending(node, "yes", tokens_max=500) as lent:
        lent.server.usage = {"prompt_tokens": 20, "completion_tokens": 300}
        for asked in (ASK | {"max_completion_tokens": 10_000}, {"messages": ASK["messages"]}):
            assert (await lent.ask(asked)).status_code == 200

        limits = [one["max_completion_tokens"] for one in lent.server.asked]
        assert limits == [one["max_tokens"] for one in lent.server.asked]
        tokens_in = lent.usage()[0]["tokens"] - limits[0]
        assert limits == [500 - tokens_in, 500 - 320 - tokens_in]


async def test_an_attempt_that_has_used_its_tokens_gets_no_more(node: Node):
    async with lending(node, "yes", tokens_max=500) as lent:
        lent.server.usage = {"prompt_tokens": 20, "completion_tokens": 480}
        assert (await lent.ask()).status_code == 200
        refused = problem(await lent.ask(), 402, "budget-exhausted")

        assert "has used 500 of its 500 tokens" in refused["detail"]
        assert len(lent.server.asked) == 1
        assert len(lent.usage()) == 2


async def test_a_prompt_that_is_too_large_for_the_instruction_is_not_asked(node: Node):
    async with lending(node, "yes", tokens_max=500) as lent, nothing_recorded(node):
        problem(await lent.ask(BIG), 402, "budget-exhausted")

        assert lent.server.asked == []


@pytest.mark.parametrize("budget", [{"tokens": 150}, {"money": 1e-9}, {"calls": 1}])
async def test_the_constellations_budget_binds_too(node: Node, budget: dict[str, float]):
    async with lending(node, "yes", constraints={"budget": budget}) as lent:
        lent.server.usage = {"prompt_tokens": 100, "completion_tokens": 100}
        answers = [await lent.ask() for _ in range(2)]

        assert "the budget is" in problem(answers[1], 402, "budget-exhausted")["detail"]
        assert len(lent.server.asked) == (0 if "money" in budget else 1)


async def test_a_refused_reservation_is_not_counted_against_the_attempt(node: Node):
    async with lending(node, "yes", tokens_max=2_000, constraints={"budget": {"tokens": 1_000}}) as lent:
        problem(await lent.ask({**BIG, "max_completion_tokens": 900}), 402, "budget-exhausted")
        problem(await lent.ask({**BIG, "max_completion_tokens": 900}), 402, "budget-exhausted")

        assert (await lent.ask()).status_code == 200


async def test_a_budget_of_money_needs_a_price(node: Node):
    async with lending(node, "yes", constraints={"budget": {"money": 1}}) as lent:
        node.parts.llm = llm(lent.server, price=None)
        assert "GALAXY_LLM_PRICES" in problem(await lent.ask(), 402, "budget-exhausted")["detail"]
        assert lent.server.asked == []


async def test_without_a_price_and_without_a_budget_of_money_calls_are_free(node: Node):
    async with lending(node, "yes") as lent:
        node.parts.llm = llm(lent.server, price=None)
        assert (await lent.ask()).status_code == 200
        assert (await lent.spent())["money"] == 0.0


@pytest.mark.parametrize(("used", "status"), [(450, 402), (100, 200)])
async def test_a_node_that_was_started_again_remembers_what_the_attempt_has_used(node: Node, used: int, status: int):
    async with lending(node, "yes", tokens_max=500) as lent:
        lent.server.usage = {"prompt_tokens": 0, "completion_tokens": used}
        await lent.ask({**ASK, "max_completion_tokens": 1})
        old = node.parts
        parts = Parts(
            old.runner, old.store, old.gateway, old.artifacts, old.metrics, old.galaxy_id, old.now, llm=old.llm
        )
        app = build(parts, Rules("", frozenset(), node.gateway.artifact_device))
        headers = {"Authorization": f"Bearer {lent.token()}", "Galaxy-Attempt": lent.call.attempt}
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=URL, headers=headers) as http:
            answer = await http.post(CHAT, json={**ASK, "messages": [{"role": "user", "content": "x" * 150}]})

        assert answer.status_code == status, answer.text


async def test_without_a_model_the_problem_names_the_settings(node: Node):
    async with lending(node, "yes") as lent:
        node.parts.llm = None
        async with nothing_recorded(node):
            refused = problem(await lent.ask(), 503, "no-model")

        assert all(f"GALAXY_LLM_{name}" in refused["detail"] for name in ("URL", "MODEL", "KEY"))


async def test_the_one_model_is_listed_for_devices(node: Node):
    async with lending(node, "yes") as lent:
        headers = {"Authorization": f"Bearer {lent.token()}"}
        found = (await node.http.get("/v1/agent-llm/models", headers=headers)).json()
        node.parts.llm = None

        assert found == {"object": "list", "data": [{"id": "small", "object": "model", "owned_by": "galaxy"}]}
        problem(await node.http.get("/v1/agent-llm/models", headers=headers), 503, "no-model")


@pytest.mark.parametrize(
    ("upstream", "status", "code", "retry_after"),
    [
        (Refusal(429, retry_after="17"), 429, "model-busy", "17"),
        (
            Refusal(503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
            502,
            "model-failed",
            "Wed, 21 Oct 2026 07:28:00 GMT",
        ),
        (Refusal(504), 504, "model-timeout", None),
        (Refusal(401), 502, "model-failed", None),
        (Refusal(400, b'{"error": {"code": "context_length_exceeded"}}'), 502, "model-failed", None),
        (Refusal(302), 502, "model-failed", None),
        (Refusal(204, b""), 502, "model-failed", None),
    ],
)
async def test_an_endpoint_that_refuses_is_a_problem_and_costs_nothing(
    node: Node, upstream: Refusal, status: int, code: str, retry_after: str | None
):
    async with lending(node, upstream) as lent:
        answer = await lent.ask()

        refused = problem(answer, status, code)
        assert answer.headers.get("retry-after") == retry_after
        assert str(upstream.status) in refused["detail"]
        assert ("context_length_exceeded" in refused["detail"]) == (upstream.status == 400)
        assert await lent.spent() == {"tokens": 0, "money": 0, "calls": 1, "open_calls": 0}


@pytest.mark.parametrize(
    "body",
    [
        b"not JSON",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": -1, "completion_tokens": 1}}',
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1e99, "completion_tokens": 1}}',
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'"' + b"x" * (5 << 20) + b'"',
        b"[" * 100_000,
        b"\xff",
    ],
)
async def test_an_answer_that_is_none_counts_as_all_that_was_set_aside(node: Node, body: bytes):
    async with lending(node, Raw(body)) as lent:
        problem(await lent.ask(), 502, "model-failed")

        reserved, settled = lent.usage()
        assert settled["usage"]["tokens_in"] + settled["usage"]["tokens_out"] == reserved["tokens"]
        assert settled["usage"]["error"]


async def test_an_endpoint_that_does_not_count_has_its_answer_estimated(node: Node):
    async with lending(node, "x" * 90) as lent:
        lent.server.usage = None
        usage = (await lent.ask()).json()["usage"]

        assert usage["completion_tokens"] == 30
        assert usage["prompt_tokens"] >= 3


async def test_an_endpoint_that_is_silent_is_given_up_and_may_have_cost_all_of_it(node: Node):
    async with lending(node, "silence") as lent:
        node.parts.llm = llm(lent.server, within_s=0.2)
        problem(await lent.ask(), 504, "model-timeout")

        reserved = lent.usage()[0]
        assert (await lent.spent())["tokens"] == reserved["tokens"]


async def test_an_endpoint_that_is_not_there_costs_nothing(node: Node):
    async with lending(node, "yes") as lent:
        node.parts.llm = AgentLlm("http://127.0.0.1:1/v1", "small")
        problem(await lent.ask(), 502, "model-failed")

        assert (await lent.spent())["tokens"] == 0


async def test_a_device_has_only_so_many_calls_under_way(node: Node):
    async with lending(node, "silence") as lent:
        asked = [node.start(lent.ask()) for _ in range(CALLS_OF_A_DEVICE_MAX)]
        await until_asked(node, lent.server.asked, CALLS_OF_A_DEVICE_MAX)
        async with nothing_recorded(node):
            refused = await lent.ask()

        problem(refused, 429, "too-many-calls")
        assert refused.headers["retry-after"] == "1"
        lent.server.released.set()
        for one in asked:
            problem(await one, 502, "model-failed")
        assert node.parts.lent.tokens.keys() == {AttemptId.parse(lent.call.attempt)}
        lent.server.answers = ["yes"]
        assert (await lent.ask(body={**ASK, "max_completion_tokens": 1})).status_code == 200


async def test_all_devices_together_have_only_so_many_calls_under_way(node: Node):
    async with lending(node, "yes") as lent:
        with_all = [node.parts.lent.calling(f"device-{number}") for number in range(CALLS_MAX)]
        for one in with_all:
            one.__enter__()
        problem(await lent.ask(), 429, "too-many-calls")
        with_all[0].__exit__(None, None, None)

        assert (await lent.ask()).status_code == 200


async def test_calls_side_by_side_do_not_take_the_same_tokens_twice(node: Node):
    async with lending(node, "yes", tokens_max=300) as lent:
        lent.server.usage = {"prompt_tokens": 20, "completion_tokens": 100}
        asking = [node.start(lent.ask()) for _ in range(4)]
        answers = [await one for one in asking]

        assert sorted(one.status_code for one in answers) == [200, 200, 200, 402]
        assert sum(one["tokens"] for one in lent.usage() if one["kind"] == "usage_reserved") == 300


async def test_an_answer_that_comes_after_the_constellation_has_ended_is_still_given(node: Node):
    async with lending(node, "silence", "yes") as lent:
        asking = node.start(lent.ask())
        await until_asked(node, lent.server.asked, 1)
        await lent.device.succeed(lent.call)
        lent.server.released.set()

        problem(await asking, 502, "model-failed")
        assert (await lent.spent())["open_calls"] == 1


@pytest.mark.parametrize("key", ["two words", "line\n", "\u00e9", "nul\0"])
async def test_a_key_that_no_header_can_hold_is_refused_without_being_told(key: str):
    with pytest.raises(ValueError, match="the model's key holds") as refusal:
        AgentLlm("http://localhost/v1", "small", key)

    assert key not in str(refusal.value)


@pytest.mark.parametrize("url", ["", "localhost:1", "file:///etc/passwd", "http://[::1"])
async def test_an_address_that_is_none_is_refused_at_once(url: str):
    with pytest.raises(ValueError, match="the model's address is no"):
        AgentLlm(url, "small")


async def test_attempts_that_are_over_are_forgotten(node: Node):
    async with lending(node, "yes") as lent:
        counted = node.parts.lent.tokens
        counted.update({AttemptId.parse(f"gone-{number}/a#1"): 1 for number in range(1_000)})
        await lent.ask()

        assert node.parts.lent.tokens.keys() == {AttemptId.parse(lent.call.attempt)}
        assert [*node.parts.lent.tokens.values()] == [110]


async def test_a_second_attempt_starts_with_all_its_tokens(node: Node):
    async with lending(node, "yes", tokens_max=500) as lent:
        lent.server.usage = {"prompt_tokens": 20, "completion_tokens": 480}
        await lent.ask()
        problem(await lent.ask(), 402, "budget-exhausted")
        phone = await follower(node, "phone")
        instruction = {"text": "again", "tools": ["work"], "tokens_max": 500}
        await node.submit({"id": "b", "instruction": instruction, "needs": {"device": "phone"}})
        other = await phone.call()

        answer = await lent.ask(token=lent.token(phone), attempt=other.attempt)
        assert answer.status_code == 200, answer.text


async def until_asked(node: Node, asked: list[Any], times: int) -> None:
    """Return when the server, which is in a thread, has been asked so often."""
    async with asyncio.timeout(WITHIN_S):
        while len(asked) < times:
            await node.runner.durable()
