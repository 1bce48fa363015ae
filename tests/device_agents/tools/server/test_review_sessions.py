"""Shells that two stars open at once, that are cancelled while they open, or leave a lot behind."""

import asyncio
from pathlib import Path

import psutil
import pytest

from device_agents.errors import ToolFailed
from device_agents.tools.server import sessions
from device_agents.tools.server.sessions import SESSIONS_MAX, ShellSession

from ..bench import Bench, failing
from .test_sessions import FREE, children, said, with_sessions


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, FREE)


def test_two_stars_that_open_one_session_at_once_do_not_get_two_shells(bench: Bench):
    async def story(tool: ShellSession) -> None:
        both = await asyncio.wait([asyncio.create_task(said(tool, bench, "X=1")) for _ in range(2)])
        failures = [each.exception() for each in both[0] if each.exception()]
        assert [isinstance(each, ToolFailed) and each.failure.code for each in failures] == ["session_busy"]
        assert len(tool._sessions) == 1
        assert (await said(tool, bench, "echo $X")).stdout == "1\n"

    with_sessions(story)


def test_many_that_open_sessions_at_once_do_not_get_more_than_there_may_be(bench: Bench):
    async def story(tool: ShellSession) -> None:
        calls = [
            asyncio.create_task(said(tool, bench, "true", session=str(number))) for number in range(SESSIONS_MAX + 4)
        ]
        await asyncio.wait(calls)
        for each in calls:
            each.exception()
        assert len(tool._sessions) <= SESSIONS_MAX

    with_sessions(story)


def test_a_call_that_is_cancelled_while_its_session_opens_leaves_no_shell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    async def story(tool: ShellSession) -> None:
        opening = asyncio.Event()

        async def opens(self: object) -> None:
            opening.set()
            await asyncio.get_running_loop().create_future()

        monkeypatch.setattr(sessions._Session, "open", opens)
        call = asyncio.create_task(said(tool, bench, "true"))
        await opening.wait()
        call.cancel()
        await asyncio.wait([call])
        assert (call.cancelled(), tool._sessions, children()) == (True, {}, [])

    with_sessions(story)


def test_a_session_whose_time_is_over_is_not_given_to_a_call_of_that_moment(bench: Bench):
    async def story(tool: ShellSession) -> None:
        await said(tool, bench, "X=1")
        ((key, session),) = tool._sessions.items()
        tool._expired(key, session)
        told = await said(tool, bench, "echo -$X-")
        assert (told.opened, told.stdout) == (True, "--\n")
        assert session.ending
        await session.ending

    with_sessions(story)
    assert psutil.Process().children() == []


def test_a_session_that_cannot_open_leaves_nothing_open(bench: Bench):
    async def story(tool: ShellSession) -> None:
        before = psutil.Process().num_fds()
        for _ in range(5):
            with failing("not_found"):
                await said(tool, bench, "true", cwd="nowhere")
        assert psutil.Process().num_fds() <= before

    with_sessions(story)
