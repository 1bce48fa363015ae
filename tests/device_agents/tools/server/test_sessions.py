"""Shells that stay open."""

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest

from device_agents.guard import Limits, Policy
from device_agents.tools.base import Context
from device_agents.tools.server.sessions import SESSIONS_MAX, ShellSession

from ..bench import Bench, failing

FREE = Policy(shell=True, limits=Limits(output_bytes=1 << 20))  # noqa: S604  # a policy, and no call


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, FREE)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


async def said(tool: ShellSession, bench: Bench, shell: str, **more: Any) -> Any:
    return await bench.run(tool, session=more.pop("session", "s"), shell=shell, **more)


def with_sessions(story: Any, idle_s: float = 60.0) -> None:
    """Run a story of one tool, and find nothing of its sessions afterwards."""

    async def told() -> None:
        tool = ShellSession(idle_s)
        try:
            await story(tool)
        finally:
            for key, session in list(tool._sessions.items()):
                await tool._ended(key, session, Context.__dataclass_fields__["grace"].default_factory())  # type: ignore[misc]

    asyncio.run(told())
    assert children() == []


def test_what_one_call_leaves_in_the_shell_the_next_one_finds(bench: Bench):
    async def story(tool: ShellSession) -> None:
        (bench.work / "deep").mkdir()
        first = await said(tool, bench, "cd deep; X='a  b'; f() { echo f$1; }")
        second = await said(tool, bench, 'pwd; echo "$X"; f 1; echo no >&2')
        assert (first.opened, second.opened) == (True, False)
        assert second.stdout.splitlines() == [str(bench.work / "deep"), "a  b", "f1"]
        assert second.stderr == "no\n"

    with_sessions(story)


def test_a_script_has_many_lines_and_an_exit_code(bench: Bench):
    async def story(tool: ShellSession) -> None:
        told = await said(tool, bench, "for i in 1 2; do\n  echo $i\ndone\nprintf x\nfalse", check=False)
        assert (told.stdout, told.exit_code) == ("1\n2\nx", 1)
        with failing("exit_nonzero", "exit code 3", "because", retryable=True):
            await said(tool, bench, "echo because >&2; (exit 3)")
        assert (await said(tool, bench, "echo still")).stdout == "still\n"

    with_sessions(story)


def test_a_mistake_in_a_script_does_not_end_the_session(bench: Bench):
    async def story(tool: ShellSession) -> None:
        await said(tool, bench, "X=1")
        assert (await said(tool, bench, "if", check=False)).exit_code != 0
        assert (await said(tool, bench, "echo $X")).stdout == "1\n"

    with_sessions(story)


def test_what_reads_the_standard_input_finds_its_end(bench: Bench):
    async def story(tool: ShellSession) -> None:
        assert (await said(tool, bench, "cat; echo after")).stdout == "after\n"

    with_sessions(story)


def test_each_constellation_has_its_own(bench: Bench):
    async def story(tool: ShellSession) -> None:
        await said(tool, bench, "X=1")
        bench.context = Context("other/star#1", bench.guard, bench.context.scratch, bench.shelf, lambda *_: None)
        assert (await said(tool, bench, "echo -$X-")).stdout == "--\n"

    with_sessions(story)


def test_a_shell_that_exits_is_over_and_says_so(bench: Bench):
    async def story(tool: ShellSession) -> None:
        with failing("session_ended"):
            await said(tool, bench, "exit 3")
        assert (await said(tool, bench, "echo new")).opened

    with_sessions(story)


def test_what_takes_too_long_ends_with_all_that_it_started(bench: Bench):
    async def story(tool: ShellSession) -> None:
        with failing("timeout", retryable=True):
            await said(tool, bench, "sleep 60 & sleep 60", timeout_s=0.3)
        assert children() == []

    with_sessions(story)


def test_too_much_output_ends_the_session(bench: Bench):
    async def story(tool: ShellSession) -> None:
        with failing("output_too_large", "limits.output_bytes"):
            await said(tool, bench, "yes")
        assert children() == []

    with_sessions(story)


def test_a_session_that_nobody_uses_ends_by_itself(bench: Bench):
    async def story(tool: ShellSession) -> None:
        await said(tool, bench, "sleep 60 &")
        session = next(iter(tool._sessions.values()))
        async with asyncio.timeout(10):
            while session.ending is None:
                await asyncio.get_running_loop().run_in_executor(None, children)
            await session.ending
        assert children() == []
        assert (await said(tool, bench, "true")).opened

    with_sessions(story, idle_s=0.05)


def test_one_too_many_ends_the_one_that_was_idle_for_longest(bench: Bench):
    async def story(tool: ShellSession) -> None:
        for number in range(SESSIONS_MAX + 1):
            await said(tool, bench, "true", session=str(number))
        assert not (await said(tool, bench, "true", session=str(SESSIONS_MAX))).opened
        assert (await said(tool, bench, "true", session="0")).opened

    with_sessions(story)


def test_only_where_the_owner_allows_command_lines(tmp_path: Path):
    (tmp_path / "strict").mkdir()
    bench = Bench(tmp_path / "strict")

    with failing("denied", "shell = true"):
        asyncio.run(said(ShellSession(1.0), bench, "true"))
