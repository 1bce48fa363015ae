"""What a node and an agent log: at their most talkative, too, no key and no token."""

import os
import subprocess
import sys

import pytest

from tests.device_agents.endpoint import Refusal, answering, said

KEY = "sk-in-no-line-of-any-log"
WITHIN_S = 60

NODE = """
import asyncio, logging, random, sys
from galaxy.api.agent_model import AgentLlm, forwarded
from galaxy.cli.logs import log_to_stderr

async def asked(url, key):
    from galaxy.planner.contract import PlannerFailed
    from galaxy.planner.provider import LlmSettings, Provider, Question
    from tests.galaxy.planner.sky import Book

    await forwarded(AgentLlm(url, "m", key), b"{}")
    question = Question("plan@1", [{"role": "system", "content": "Plan."}], {"type": "object"})
    try:
        settings = LlmSettings(base_url=url, key=key, model="m", retries=0)
        await Provider(settings, random.Random(0)).ask(question, Book(), money_counts=False)
    except PlannerFailed:
        pass

log_to_stderr("debug")
"""
AGENT = """
import asyncio, logging, sys
from device_agents.__main__ import LogLevel, _log_to_stderr
from device_agents.brain_model import Ask, Endpoint, Model
from device_agents.errors import ToolFailed

async def asked(url, key):
    async with Model(Endpoint(url, "m", lambda: key)).opened("c/a#1") as chat:
        try:
            await chat.answer(Ask([{"role": "user", "content": "What now?"}], {"type": "object"}, 100))
        except ToolFailed:
            pass

_log_to_stderr(LogLevel.DEBUG)
"""
ASKED = """
for name in ("httpx2", "httpcore2", "openai", "websockets"):
    logging.getLogger(name).setLevel(logging.DEBUG)  # as some do by themselves
logging.getLogger("galaxy.test").debug("a debug line of ours")
asyncio.run(asked(*sys.argv[1:]))
for name in ("httpcore2.http11", "websockets.client"):
    logging.getLogger(name).debug(f"headers: {sys.argv[2]}")
"""


@pytest.mark.parametrize("program", [NODE, AGENT], ids=["node", "agent"])
@pytest.mark.parametrize("answer", [said("file.read"), Refusal(401)], ids=["answered", "refused"])
def test_a_key_stands_in_no_line_of_a_log_even_with_debug(program: str, answer: str | Refusal):
    with answering(answer) as model:
        url = f"http://127.0.0.1:{model.server_address[1]}/v1"
        ran = subprocess.run(
            [sys.executable, "-c", program + ASKED, url, KEY],
            env={**os.environ, "OPENAI_LOG": "debug", "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=True,
        )

    keys = {headers.get("Authorization", headers.get("authorization")) for headers in model.headers}
    assert keys == {f"Bearer {KEY}"}
    assert "a debug line of ours" in ran.stderr
    assert KEY not in ran.stderr + ran.stdout


SAID = """
import logging
from galaxy.cli.logs import log_to_stderr

log_to_stderr("info")
log = logging.getLogger("galaxy.test")
log.warning("refused", extra={"reason": "\\x1b]0;mine\\x07\\x1b[2J"})
try:
    raise ValueError("\\x1b[2Jgone")
except ValueError:
    log.exception("a question crashed")
"""


def test_a_strangers_words_steer_no_terminal_of_the_node():
    ran = subprocess.run([sys.executable, "-c", SAID], capture_output=True, text=True, timeout=30, check=True)

    assert {sign for sign in ran.stderr if not sign.isprintable()} == {"\n"}
    assert "]0;mine" in ran.stderr
