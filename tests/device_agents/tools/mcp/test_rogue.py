"""What an MCP server gets that means harm."""

import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from device_agents.guard import Limits, Policy
from device_agents.tools.base import Tool
from device_agents.tools.mcp import McpSettings, tools

from ..bench import Bench, failing

ROGUE = str(Path(__file__).with_name("rogue_server.py"))
SMALL = Policy(limits=Limits(output_bytes=1_000_000))


def offered(harm: str, **settings: float) -> dict[str, Tool]:
    how = {"timeout_s": 5.0, "start_s": 10.0} | settings
    return {tool.name: tool for tool in tools({"rogue": McpSettings((sys.executable, ROGUE, harm), **how)})}  # type: ignore[arg-type]  # a float each


@pytest.mark.parametrize(
    ("harm", "names"),
    [
        ("names", ["mcp:rogue/fine"]),
        ("schemas", ["mcp:rogue/x"]),
        ("pages", ["mcp:rogue/x"]),
    ],
)
def test_names_and_schemas_that_cannot_be_used_are_left_out(harm: str, names: list[str]):
    assert list(offered(harm)) == names


def test_of_thousands_of_tools_some_are_taken():
    assert len(offered("many")) == 200


def test_a_server_that_never_answers_costs_the_time_that_it_is_given(tmp_path: Path):
    began = time.monotonic()
    (silent,) = offered("silent", start_s=0.5).values()

    assert silent.name == "mcp:rogue"
    assert time.monotonic() - began < 8


@pytest.mark.parametrize(
    ("harm", "code", "retryable"),
    [("line", "connection_lost", True), ("large", "output_too_large", False), ("stays", "timeout", True)],
)
def test_a_server_that_floods_or_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, harm: str, code: str, retryable: bool
):
    bench = Bench(tmp_path, SMALL)
    tool = offered(harm, timeout_s=3.0)["mcp:rogue/x"]

    with failing(code, retryable=retryable):
        bench.call(tool)

    assert psutil.Process().children(recursive=True) == []


def test_noise_between_the_messages_is_no_answer_to_anything(tmp_path: Path):
    assert Bench(tmp_path).call(offered("noise")["mcp:rogue/x"]).text == "fine"


def test_a_link_is_told_and_not_followed_and_bytes_that_are_none_are_said_to_be_none(tmp_path: Path):
    found = Bench(tmp_path).call(offered("link")["mcp:rogue/x"])

    assert (found.text, found.artifacts) == ("file:///etc/passwd\n(a part that is no base64)", ())


def test_a_server_that_asks_for_the_agents_model_is_refused(tmp_path: Path):
    answer = msgspec.json.decode(Bench(tmp_path).call(offered("asks")["mcp:rogue/x"]).text)

    assert "error" in answer
