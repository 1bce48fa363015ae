"""The node's model is for the attempts of the device that asks and for nobody else; its key is for none."""

import json
import logging
from typing import Any

import pytest

from galaxy.api.gate import QUESTION_BYTES_MAX
from tests.device_agents.endpoint import Raw, Refusal
from tests.galaxy.api.helpers import TOKEN, Node
from tests.galaxy.api.lent import ASK, KEY, follower, lending
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

MODELS = "/v1/agent-llm/models"


async def test_another_device_may_not_use_the_attempt(node: Node):
    async with lending(node, "yes") as lent:
        phone = await follower(node, "phone")
        async with nothing_recorded(node):
            problem(await lent.ask(token=lent.token(phone)), 403, "not-its-attempt")

        assert lent.server.asked == []


async def test_neither_the_api_token_nor_an_invented_one_opens_the_model(node: Node):
    async with lending(node, "yes") as lent:
        for token in (TOKEN, "invented", KEY):
            problem(await lent.ask(token=token), 401, "unauthorized")
        problem(await node.http.get(MODELS), 401, "unauthorized")

        assert lent.server.asked == []


async def test_the_token_of_a_session_that_is_over_is_worth_nothing(node: Node):
    async with lending(node, "yes") as lent:
        old = lent.token()
        await lent.device.cut()
        await lent.device.connect()
        problem(await lent.ask(token=old), 401, "unauthorized")
        await node.http.post("/v1/devices/laptop:revoke")

        problem(await lent.ask(), 401, "unauthorized")


async def test_the_token_of_a_device_opens_nothing_beside_the_model(node: Node):
    async with lending(node, "yes") as lent:
        headers = {"Authorization": f"Bearer {lent.token()}"}
        for path in (f"{MODELS}/", "/v1/agent-llm", "/v1/agent-llm/../devices", "/v1/agent-llm/files", "/v1/approvals"):
            answer = await node.http.get(path, headers=headers)
            assert answer.status_code == 401, path


async def test_an_attempt_that_is_over_gets_no_answer(node: Node):
    async with lending(node, "yes") as lent:
        await node.submit("b")  # so that the constellation's end is not all there is
        await lent.device.succeed(lent.call)

        problem(await lent.ask(), 403, "not-its-attempt")


async def test_an_attempt_that_calls_a_tool_gets_no_answer(node: Node):
    async with lending(node, "yes") as lent:
        await node.submit("b")
        call = await lent.device.call()

        assert "calls a tool" in problem(await lent.ask(attempt=call.attempt), 403, "not-its-attempt")["detail"]


async def test_a_revoked_attempt_gets_no_answer_while_it_is_being_stopped(node: Node):
    async with lending(node, "yes") as lent:
        await node.http.post(f"/v1/constellations/{lent.constellation}:cancel", json={"reason": "enough"})

        assert "was revoked: enough" in problem(await lent.ask(), 403, "not-its-attempt")["detail"]
        assert lent.server.asked == []


@pytest.mark.parametrize("change", ["", "{c}/a", "{c}/a#2", "{c}/a#01", "{c}/a# 1", "{c}/z#1", "x/a#1", "#", "/#1"])
async def test_what_is_no_attempt_of_the_device_is_named_as_such(node: Node, change: str):
    async with lending(node, "yes") as lent, nothing_recorded(node):
        problem(await lent.ask(attempt=change.format(c=lent.constellation)), 403, "not-its-attempt")


async def test_smuggled_fields_go_no_further(node: Node):
    smuggled: dict[str, Any] = {
        "model": "the-dearest",
        "stream": True,
        "n": 100,
        "tools": [{"type": "web_search"}],
        "tool_choice": "required",
        "logprobs": True,
        "store": True,
        "web_search_options": {},
        "service_tier": "priority",
    }
    messages = [{"role": "user", "content": "What now?", "name": "x", "tool_calls": [{}], "audio": {"id": "y"}}]
    async with lending(node, "yes") as lent:
        assert (await lent.ask({**ASK, **smuggled, "messages": messages})).status_code == 200

        assert lent.server.asked == [{"model": "small", "stream": False, **ASK, "max_tokens": 100}]
        assert not {name.lower() for name in lent.server.headers[0]} & {"galaxy-attempt", "cookie"}


UNFIT: list[Any] = [
    {},
    {"messages": []},
    {"messages": [{"role": "tool", "content": "x"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]}]},
    {**ASK, "max_tokens": 0},
    {**ASK, "max_completion_tokens": -1},
    {**ASK, "temperature": 3},
    {**ASK, "response_format": {"type": "grammar"}},
    b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"messages": [{"role": "user", "content": "x"}],'
    b' "response_format": {"type": "json_schema", "json_schema": {"x": "\\ud800"}}}',
    b"{",
]


@pytest.mark.parametrize("body", UNFIT)
async def test_what_is_no_question_is_refused_and_not_passed_on(node: Node, body: Any):
    async with lending(node, "yes") as lent, nothing_recorded(node):
        problem(await lent.ask(body), 422, "invalid-request")

        assert lent.server.asked == []


async def test_a_question_larger_than_its_bound_is_refused(node: Node):
    body = json.dumps({"messages": [{"role": "user", "content": "x" * QUESTION_BYTES_MAX}]}).encode()
    async with lending(node, "yes") as lent, nothing_recorded(node):
        problem(await lent.ask(body), 413, "body-too-large")

        assert lent.server.asked == []


@pytest.mark.parametrize(
    "upstream",
    [
        "all is well",
        f"you sent {KEY}",
        Refusal(401, json.dumps({"error": {"message": f"bad key {KEY}", "code": KEY}}).encode()),
        Refusal(500, f"Authorization: Bearer {KEY}".encode()),
        Refusal(429, retry_after=KEY),
        Raw(f"<pre>{KEY}</pre>".encode()),
    ],
)
async def test_the_key_stands_in_no_answer_no_event_and_no_log_line(
    node: Node, upstream: Any, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    async with lending(node, upstream) as lent:
        answer = await lent.ask()

        told = [answer.text, str(answer.headers), repr(node.parts.llm), repr(node.parts)]
        told += [str(vars(record)) for record in caplog.records if not record.name.startswith("http")]
        told += [row.body.decode() for row in node.store.rows()]
        assert lent.server.asked
        assert not [text for text in told if KEY in text]
