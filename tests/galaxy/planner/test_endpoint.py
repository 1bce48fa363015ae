"""The way to a model's endpoint: the same for the planner and for devices, through the environment's proxy."""

import random

import pytest

from galaxy.api.agent_model import AgentLlm, forwarded
from galaxy.planner.contract import PlannerFailed
from galaxy.planner.provider import LlmSettings, Provider, Question
from tests.device_agents.endpoint import ModelServer, Refusal, answering

from .sky import Book

pytestmark = pytest.mark.asyncio

QUESTION = Question("plan@1", [{"role": "system", "content": "Plan."}], {"type": "object"})
AWAY = "http://model.example/v1"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def url(server: ModelServer, path: str = "") -> str:
    return f"http://127.0.0.1:{server.server_address[1]}{path}"


async def both_ask(base_url: str) -> None:
    """Let the planner and a device ask, whatever they hear."""
    await forwarded(AgentLlm(base_url, "m", "key"), b"{}")
    settings = LlmSettings(base_url=base_url, key="key", model="m", retries=0)
    with pytest.raises(PlannerFailed):
        await Provider(settings, random.Random(0)).ask(QUESTION, Book(), money_counts=False)


async def test_the_planner_and_devices_reach_the_model_through_the_same_proxy(monkeypatch: pytest.MonkeyPatch):
    with answering(Refusal(401)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", url(proxy))
        await both_ask(AWAY)

        assert proxy.paths == [f"{AWAY}/chat/completions"] * 2


async def test_no_proxy_stands_before_a_model_on_the_same_machine(monkeypatch: pytest.MonkeyPatch):
    with answering(Refusal(401)) as proxy, answering(Refusal(401)) as model:
        monkeypatch.setenv("HTTP_PROXY", url(proxy))
        await both_ask(url(model, "/v1"))

        assert (proxy.paths, model.paths) == ([], ["/v1/chat/completions"] * 2)


async def test_neither_follows_a_redirection_with_the_key():
    with answering("yes") as elsewhere, answering("yes") as model:
        model.answers = [Refusal(307, location=url(elsewhere, "/v1/chat/completions"))]
        await both_ask(url(model, "/v1"))

        assert (elsewhere.paths, len(model.paths)) == ([], 2)
