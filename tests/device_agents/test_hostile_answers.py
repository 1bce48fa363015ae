"""A model's endpoint that is meant to do harm: answers that are too long, packed, or nested beyond reason."""

import gzip
import json

import pytest

from device_agents.brain_model import ANSWER_BYTES_MAX

from .endpoint import Raw, answering
from .test_brain_model import answer_of, failure_of

HONEST = {"choices": [{"message": {"content": "hi"}}]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (json.dumps(HONEST).encode() + b" " * ANSWER_BYTES_MAX, "no answer|Connection error|more than"),
        (b'{"x":' + b"[" * 100_000, "no chat completion"),
        (b'{"choices":[{"message":{"content":' + b"[" * 100_000, "no chat completion"),
        (gzip.compress(json.dumps(HONEST).encode()), "no chat completion"),
    ],
    ids=["long", "deep", "deep-content", "packed"],
)
def test_an_endpoint_that_answers_what_nobody_can_read_is_given_up(body: bytes, why: str):
    with answering(Raw(body)) as server:
        code, retryable, said = failure_of(server.model())

    assert (code, retryable) == ("model_failed", True)
    assert any(word in said for word in why.split("|")), said


def test_an_endpoint_is_asked_not_to_pack_its_answers():
    with answering("hi") as server:
        answer_of(server.model())

    assert {name.lower(): value for name, value in server.headers[0].items()}["accept-encoding"] == "identity"
