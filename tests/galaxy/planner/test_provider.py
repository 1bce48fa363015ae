"""One call of a model: what streams in, what is tried again, what is an error at once, and what is paid."""

import asyncio
import random
import sys
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest

from galaxy.planner.contract import PlannerFailed
from galaxy.planner.prices import Price
from galaxy.planner.provider import LlmSettings, Provider, Question, Said, estimated

from .replay import RECORDINGS, Exchange, Recording, ReplayServer, load_all, replaying
from .sky import Book

pytestmark = pytest.mark.asyncio

KEY = "key-of-the-test"
SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"], "additionalProperties": False}
QUESTION = Question("plan@1", [{"role": "system", "content": "Plan."}, {"role": "user", "content": "Do it"}], SCHEMA)
YES = Exchange(answer={"x": "yes"})


class Asked:
    """What came of a question."""

    def __init__(self, server: ReplayServer, book: Book, pauses: list[float]) -> None:
        self.server, self.book, self.pauses = server, book, pauses
        self.said: Said | None = None
        self.failed = ""


async def ask(*exchanges: Exchange, times: int = 1, book: Book | None = None, **more: Any) -> Asked:
    """Return what came of asking a server that answers so; back-offs are kept rather than waited for."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with replaying([Recording("Do it", list(exchanges))]) as server:
        given = LlmSettings(**{"base_url": server.url, "key": KEY, "model": "m", **more})
        asked = Asked(server, book or Book(), pauses)
        provider = Provider(given, random.Random(0), pause)
        for _ in range(times):
            try:
                asked.said = await provider.ask(QUESTION, asked.book, money_counts=False)
            except PlannerFailed as exc:
                asked.failed = str(exc)
    assert server.wrong == []
    return asked


def errors(asked: Asked) -> Sequence[str]:
    return [usage.error for usage in asked.book.usages]


async def test_an_answer_is_put_together_from_its_pieces_and_paid_by_the_price_table():
    asked = await ask(YES, prices={"m": Price(2.0, 10.0)})

    assert asked.said == Said('{"x": "yes"}')
    (usage,) = asked.book.usages
    assert (usage.model, usage.tokens_in, usage.tokens_out, usage.money) == ("m", 1_000, 200, 0.004)
    assert (usage.prompt, usage.error, len(usage.prompt_sha256), len(usage.answer_sha256)) == ("plan@1", "", 64, 64)
    assert asked.server.keys == [f"Bearer {KEY}"]


async def test_what_a_call_may_cost_at_most_is_set_aside_before_it():
    asked = await ask(YES, prices={"m": Price(2.0, 10.0)}, tokens_out_max=500)

    assert asked.book.reserved[0][0] == estimated(QUESTION) + 500
    assert asked.book.reserved[0][1] > asked.book.usages[0].money


async def test_an_endpoint_that_counts_nothing_is_paid_by_an_estimate():
    asked = await ask(Exchange(answer={"x": "yes"}, usage=False))

    (usage,) = asked.book.usages
    assert (usage.tokens_in, usage.tokens_out) == (estimated(QUESTION), 4)


async def test_a_call_that_the_budget_does_not_allow_is_never_made():
    asked = await ask(book=Book(tokens_max=10))

    assert "and 10 are left" in asked.failed
    assert asked.server.asked == []


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_reasoning_reaches_people_in_whole_sentences(name: str):
    words = "First I look at the files. Then I read one. " * 10
    asked = await ask(Exchange(answer={"x": "yes"}, reasoning=words, reasoning_name=name))

    assert " ".join(asked.book.thoughts) == words.strip()
    assert all(thought.endswith(".") for thought in asked.book.thoughts)


async def test_reasoning_without_an_end_is_cut_into_bounded_pieces():
    asked = await ask(Exchange(answer={"x": "yes"}, reasoning="a" * 100_000))

    assert max(map(len, asked.book.thoughts)) == 2_000
    assert sum(map(len, asked.book.thoughts)) == 40_000


async def test_a_crowded_endpoint_is_asked_again_when_it_says():
    asked = await ask(Exchange(status=429, headers={"retry-after": "7"}), YES)

    assert asked.said == Said('{"x": "yes"}')
    assert asked.pauses == [7.0]
    assert len(asked.book.reserved) == len(asked.book.usages) == 2


async def test_how_long_an_endpoint_may_put_off_is_bounded():
    asked = await ask(Exchange(status=503, headers={"retry-after": "86400"}), YES)

    assert asked.pauses == [60.0]


async def test_a_broken_endpoint_is_given_up_after_its_tries_with_growing_pauses():
    asked = await ask(*[Exchange(status=500)] * 3, retries=2)

    assert "did not answer after 3 tries" in asked.failed
    assert [0 <= pause <= most for pause, most in zip(asked.pauses, (1.0, 2.0), strict=True)] == [True, True]


async def test_a_stream_that_ends_before_its_answer_is_tried_again():
    asked = await ask(Exchange(answer={"x": "yes"}, finish=None), YES)

    assert asked.said == Said('{"x": "yes"}')
    assert errors(asked) == ["the stream ended before the answer did", ""]


@pytest.mark.parametrize(
    "odd",
    [
        7,
        {"choices": None},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": 7}}]},
        {"usage": {"prompt_tokens": []}},
    ],
)
async def test_a_stream_that_is_none_of_chat_completions_is_tried_again(odd: Any):
    asked = await ask(Exchange(answer={"x": "yes"}, odd=odd), YES)

    assert asked.said == Said('{"x": "yes"}')
    assert len(asked.book.usages) == len(asked.book.reserved) == 2


async def test_an_error_in_the_middle_of_a_stream_is_tried_again():
    asked = await ask(Exchange(answer={"x": "yes"}, odd={"error": {"message": "overloaded"}}), YES)

    assert errors(asked) == ["overloaded", ""]


async def test_an_endpoint_that_falls_silent_is_hung_up_on_and_asked_again():
    asked = await ask(Exchange(silent=True), YES, call_timeout_s=0.5)

    assert asked.said == Said('{"x": "yes"}')
    assert asked.server.left.is_set()


async def test_an_endpoint_that_is_not_there_is_a_failure_after_its_tries():
    asked = await ask(base_url="http://127.0.0.1:9/v1", retries=1)

    assert "did not answer after 2 tries" in asked.failed
    assert len(asked.pauses) == 1


@pytest.mark.parametrize(
    ("status", "setting"), [(401, "GALAXY_LLM_KEY"), (403, "GALAXY_LLM_MODEL"), (404, "GALAXY_LLM_URL")]
)
async def test_what_only_a_person_can_mend_fails_at_once_and_names_the_setting(status: int, setting: str):
    asked = await ask(Exchange(status=status))

    assert setting in asked.failed
    assert len(asked.server.asked) == 1


async def test_used_up_credit_is_not_waited_for():
    asked = await ask(Exchange(status=429, error={"message": "no", "code": "insufficient_quota"}))

    assert "credit" in asked.failed
    assert asked.pauses == []


async def test_an_endpoint_without_schemas_gets_them_in_the_prompt_from_then_on():
    asked = await ask(Exchange(status=400), YES, YES, times=2)

    formats = [request["response_format"]["type"] for request in asked.server.asked]
    assert formats == ["json_schema", "json_object", "json_object"]
    assert "JSON Schema" in asked.server.asked[1]["messages"][0]["content"]
    assert asked.said == Said('{"x": "yes"}')


async def test_an_endpoint_of_the_older_kind_gets_the_limit_under_its_older_name():
    asked = await ask(Exchange(status=400, error={"message": "?", "param": "max_completion_tokens"}), YES)

    assert asked.server.asked[1]["max_tokens"] == 4_000
    assert asked.server.asked[1]["response_format"]["type"] == "json_schema"


async def test_a_request_that_is_refused_in_every_form_is_a_failure():
    asked = await ask(*[Exchange(status=400, error={"message": "too long"})] * 2)

    assert asked.failed.endswith("too long")


async def test_a_refusal_is_a_failure_with_the_models_own_words():
    asked = await ask(Exchange(refusal="I would rather not.", raw=""))

    assert asked.failed == "m refused to answer: I would rather not."


async def test_an_answer_that_is_too_long_says_how_long_it_may_be():
    asked = await ask(Exchange(raw="{", finish="length"), tokens_out_max=100)

    assert asked.said is not None
    assert "100 tokens" in asked.said.unusable


async def test_the_key_is_nowhere_but_in_the_request():
    asked = await ask(Exchange(status=401, error={"message": f"bad key {KEY}"}))

    assert KEY not in asked.failed
    assert KEY not in repr(asked.book.usages)
    assert KEY not in repr(LlmSettings(base_url="http://127.0.0.1:9/v1", key=KEY, model="m"))


async def test_the_replay_runs_beside_a_node_as_a_process_of_its_own():
    command = [sys.executable, "-m", "tests.galaxy.planner.replay", str(RECORDINGS)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        assert process.stdout
        async with asyncio.timeout(30), httpx2.AsyncClient(trust_env=False) as client:
            url = (await process.stdout.readline()).decode().strip()
            messages = [{"role": "user", "content": load_all()[0].goal}]
            first = await client.post(f"{url}/chat/completions", json={"stream": True, "messages": messages})
            other = await client.post(f"{url}/chat/completions", json={"stream": True, "messages": []})
    finally:
        process.terminate()
        await process.wait()

    assert (first.status_code, other.status_code) == (410, 410)
    assert "expects ['file.read']" in first.json()["error"]["message"]
    assert "0 recordings" in other.json()["error"]["message"]
