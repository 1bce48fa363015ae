"""The model's endpoint over real sockets: what it is asked, how it stumbles, and when it is left alone."""

import asyncio
import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from device_agents.brain import Answer, Ask
from device_agents.brain_model import PAUSE_S_MAX, TRIES_MAX, Endpoint, Model
from device_agents.errors import ToolFailed

from .endpoint import SILENCE, ModelServer, Raw, Refusal, answering, problem

ASK = Ask(({"role": "user", "content": "hello"},), {"type": "object"}, 77)
ATTEMPT = "c/star#1"


def answer_of(model: Model) -> Answer:
    async def asked() -> Answer:
        async with model.opened(ATTEMPT) as chat:
            return await chat.answer(ASK)

    return asyncio.run(asked())


def failure_of(model: Model) -> tuple[str, bool, str]:
    with pytest.raises(ToolFailed) as caught:
        answer_of(model)
    failure = caught.value.failure
    return failure.code, failure.retryable, failure.message


def body_with(**more: Any) -> Raw:
    return Raw(json.dumps({"choices": [{"message": {"content": "hi"}}], **more}).encode())


def test_a_model_is_asked_in_the_form_that_endpoints_share():
    with answering("hi") as server:
        assert answer_of(server.model()) == Answer("hi", 100, 10)

        [asked], [headers] = server.asked, server.headers
    form = asked.pop("response_format")
    assert asked == {"model": "small", "messages": list(ASK.messages), "max_completion_tokens": 77}
    assert (form["type"], form["json_schema"]["schema"]) == ("json_schema", {"type": "object"})
    assert (server.paths, headers["authorization"]) == (["/v1/chat/completions"], "Bearer secret")
    assert "galaxy-attempt" not in {name.lower() for name in headers}


def test_the_nodes_model_is_told_which_attempt_asks_with_the_sessions_token():
    tokens = iter(["old", "new"])
    with answering(Refusal(500), "hi") as server:
        endpoint = Endpoint(server.endpoint().url, "default", lambda: next(tokens), galaxy=True)
        answer_of(Model(endpoint, pause=server._noted))

    assert [headers["authorization"] for headers in server.headers] == ["Bearer old", "Bearer new"]
    assert {name.lower(): value for name, value in server.headers[0].items()}["galaxy-attempt"] == ATTEMPT


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_an_endpoint_that_stumbles_is_asked_again(status: int):
    with answering(Refusal(status), Refusal(status), "hi") as server:
        assert answer_of(server.model()).text == "hi"

        assert len(server.pauses) == 2


def test_an_endpoint_that_keeps_stumbling_is_given_up_for_now():
    with answering(Refusal(500, b"on fire")) as server:
        code, retryable, words = failure_of(server.model())

    assert (code, retryable, "on fire" in words) == ("model_failed", True, True)
    assert (len(server.asked), len(server.pauses)) == (TRIES_MAX, TRIES_MAX - 1)


def test_the_endpoint_says_how_long_to_wait_within_reason():
    later = [Refusal(429, retry_after=wish) for wish in ("7", "9999", "Wed, 21 Oct 2026 07:28:00 GMT")]
    with answering(*later, "hi") as server:
        answer_of(server.model())

    assert server.pauses[:2] == [7.0, PAUSE_S_MAX]
    assert server.pauses[2] < PAUSE_S_MAX


@pytest.mark.parametrize("status", [302, 400, 401, 404, 422])
def test_what_another_try_will_not_mend_is_not_tried(status: int):
    with answering(Refusal(status, b"because")) as server:
        code, retryable, words = failure_of(server.model(galaxy=True))

    assert (code, retryable, "because" in words) == ("model_failed", True, True)
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_node_without_a_model_says_so_in_its_own_words(status: int):
    with answering(problem(status, "no model is set up")) as server:
        assert failure_of(server.model(galaxy=True)) == ("no_model", True, "no model is set up")

    assert len(server.asked) == 1


def test_a_spent_budget_is_no_reason_to_ask_again():
    with answering(problem(402, "the constellation has no tokens left")) as server:
        assert failure_of(server.model(galaxy=True)) == (
            "budget_exhausted",
            False,
            "the constellation has no tokens left",
        )

    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"choices": []}', b'{"choices": 5}', b"[]"])
def test_what_is_no_completion_counts_as_stumbling(body: bytes):
    with answering(Raw(body), "hi") as server:
        assert answer_of(server.model()).text == "hi"

    assert len(server.pauses) == 1


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": None}])
def test_usage_that_is_not_said_is_nothing(usage: Any):
    with answering(body_with(usage=usage)) as server:
        assert answer_of(server.model()) == Answer("hi")


def test_a_model_that_says_nothing_is_asked_again_and_given_up():
    with answering(SILENCE) as server:
        code, retryable, words = failure_of(server.model(within_s=0.05))

    assert (code, retryable, words) == ("model_failed", True, "asked 4 times; no answer in 0.05 s")


def test_an_endpoint_that_is_not_there_is_named_as_a_cause():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = Endpoint(f"http://127.0.0.1:{closed.getsockname()[1]}/v1", "small", lambda: "")
        server = ModelServer("unused")
        code, retryable, words = failure_of(Model(endpoint, pause=server._noted))
        server.server_close()

    assert (code, retryable, words.startswith("asked 4 times; Connection error.")) == ("model_failed", True, True)


def test_an_agent_that_gets_no_instruction_never_loads_the_client():
    script = "import sys, device_agents.__main__; sys.exit('openai' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
