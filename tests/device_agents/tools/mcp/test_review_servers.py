"""MCP servers that die, fork away, flood or change: what a call may believe then, and what is left of them."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace as changed

from device_agents.errors import ToolFailed
from device_agents.tools.base import Tool
from device_agents.tools.mcp import McpSettings, tools
from device_agents.work import CUT_OFF
from galaxy.cli.local import Program, free_port

from ..bench import Bench, failing
from .test_mcp import ODD, OVER_STDIO, offered
from .test_rogue import ROGUE


@pytest.fixture
def over_http(tmp_path: Path) -> Iterator[dict[str, Tool]]:
    port = free_port()
    server = Program("odd", [sys.executable, str(ODD), str(port)], tmp_path / "odd.log")
    server.start()
    try:
        found: dict[str, Tool] = {}
        while "mcp:odd/shout" not in found:  # until it listens
            found = offered(odd=McpSettings(url=f"http://127.0.0.1:{port}/mcp", timeout_s=10))
        yield found
    finally:
        server.stop()


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_server_over_http_that_crashes_in_a_call_leaves_it_open_whether_it_has_happened(
    bench: Bench, over_http: dict[str, Tool]
):
    with pytest.raises(ToolFailed) as caught:
        bench.call(over_http["mcp:odd/crash"])
    assert caught.value.failure.code in CUT_OFF, caught.value.failure


def test_a_call_that_comes_after_its_server_has_died_begins_a_new_one(bench: Bench):
    odd = offered(odd=OVER_STDIO)

    async def called() -> tuple[Any, Any]:
        before = await bench.run(odd["mcp:odd/pid"])
        os.kill(int(before.text), signal.SIGKILL)
        await asyncio.wait([odd["mcp:odd/pid"]._server._owner], timeout=10)  # type: ignore[attr-defined]  # an McpTool's
        return before, await bench.run(odd["mcp:odd/pid"])

    before, after = asyncio.run(called())
    assert before.text != after.text


def test_calls_that_come_while_a_server_is_ending_share_the_next_one(bench: Bench):
    odd = offered(odd=OVER_STDIO)

    async def called() -> set[str]:
        await bench.run(odd["mcp:odd/pid"])
        odd["mcp:odd/pid"]._server._left.set()  # type: ignore[attr-defined]  # as after a call that hung
        async with asyncio.TaskGroup() as calls:
            four = [calls.create_task(bench.run(odd["mcp:odd/pid"])) for _ in range(4)]
        return {each.result().text for each in four}

    assert len(asyncio.run(called())) == 1
    assert children() == []


def test_a_server_that_forks_away_with_its_pipes_is_ended_with_all_that_it_started(tmp_path: Path, bench: Bench):
    mark = f"600.{os.getpid()}"
    away = f"import os, sys; os.spawnlp(os.P_NOWAIT, 'setsid', 'setsid', 'sleep', '{mark}'); "
    code = f"{away} sys.argv = ['', 'noise']; exec(open({ROGUE!r}).read())"

    began = time.monotonic()
    found = tools({"rogue": McpSettings((sys.executable, "-c", code), timeout_s=5.0, start_s=10.0)})

    assert [tool.name for tool in found] == ["mcp:rogue/x"]
    assert time.monotonic() - began < 10
    assert [each for each in psutil.process_iter(["cmdline"]) if mark in (each.info["cmdline"] or [])] == []


def test_servers_that_never_answer_are_waited_for_side_by_side():
    silent = McpSettings((sys.executable, ROGUE, "silent"), start_s=2.0)

    began = time.monotonic()
    tools({f"s{number}": silent for number in range(4)})
    assert time.monotonic() - began < 6


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: bytes, sent: list[int]) -> None:
    """Answer a request without an end, as far as anybody listens."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nConnection: close\r\n\r\n")
    try:
        while sent[0] < 200 << 20:
            writer.write(b"data: " + b"x" * (1 << 20))
            sent[0] += 1 << 20
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
def test_a_server_over_http_that_floods_is_not_listened_to_for_long(kind: bytes):
    sent = [0]

    async def asked() -> None:
        server = await asyncio.start_server(lambda r, w: flood(r, w, kind, sent), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}/mcp"
        loop = asyncio.get_running_loop()
        settings = McpSettings(url=url, start_s=15.0, timeout_s=15.0)
        (silent,) = await loop.run_in_executor(None, tools, {"flood": settings})
        server.close()
        assert silent.name == "mcp:flood"

    asyncio.run(asked())
    assert sent[0] < 100 << 20


def test_probes_of_all_tools_of_a_server_ask_it_once(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    odd = offered(odd=changed(OVER_STDIO, timeout_s=10))
    asked: list[int] = []

    async def probed() -> None:
        server = odd["mcp:odd/pid"]._server  # type: ignore[attr-defined]  # an McpTool's
        ask = server._asked

        async def counted(*words: Any) -> Any:
            asked.append(1)
            return await ask(*words)

        monkeypatch.setattr(server, "_asked", counted)
        async with asyncio.TaskGroup() as probes:
            for tool in odd.values():
                probes.create_task(tool.probe(bench.guard))  # type: ignore[attr-defined]  # each has one
        await server.close()

    asyncio.run(probed())
    assert len(asked) == 1


def test_an_error_that_does_not_say_that_nothing_was_done_leaves_it_open(bench: Bench):
    (tool,) = tools({"rogue": McpSettings((sys.executable, ROGUE, "internal"), timeout_s=5.0)})

    with pytest.raises(ToolFailed) as caught:
        bench.call(tool)
    assert caught.value.failure.code in CUT_OFF, caught.value.failure


@pytest.mark.parametrize("harm", ["turns", "forgets"])
def test_a_tool_that_is_no_more_what_it_was_when_the_agent_started_is_withdrawn(bench: Bench, harm: str):
    (tool,) = tools({"rogue": McpSettings((sys.executable, ROGUE, harm, str(bench.outside / "mark")), timeout_s=5.0)})

    async def probed() -> None:
        try:
            await tool.probe(bench.guard)  # type: ignore[attr-defined]  # it has one
        finally:
            await tool._server.close()  # type: ignore[attr-defined]  # an McpTool's

    with failing("unavailable", "start the agent again"):
        asyncio.run(probed())


def test_a_call_that_is_too_slow_does_not_take_the_answer_from_another_one(bench: Bench):
    wait = offered(odd=changed(OVER_STDIO, timeout_s=1.5))["mcp:odd/wait"]

    async def two() -> list[str]:
        first = asyncio.create_task(bench.run(wait))
        await asyncio.wait([first], timeout=1.0)
        second = asyncio.create_task(bench.run(wait))
        await asyncio.wait([first, second])
        return [failed.failure.code for each in (first, second) if isinstance(failed := each.exception(), ToolFailed)]

    assert asyncio.run(two()) == ["timeout", "timeout"]
    assert children() == []
