"""Programs that are started, and that do not outlive whoever started them."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from device_agents.errors import ToolFailed
from device_agents.tools.base import Tool
from device_agents.tools.desktop.screen import tools

from ...bench import Bench, failing
from .stands import desk, lacking, tool, until, windows

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())

XTERM = ("xterm", "-T", "begun")
AGENT = """
import asyncio, sys
from pathlib import Path
import msgspec
from device_agents.guard import Guard, Policy
from device_agents.tools.base import Context
from device_agents.tools.desktop.screen import tools
from device_agents.tools.desktop.screen.settings import ScreenSettings

async def main():
    settings = msgspec.json.decode(sys.argv[1], type=ScreenSettings)
    start = next(each for each in tools(settings) if each.name == "program.start")
    work = Path(sys.argv[2])
    context = Context("c/star#1", Guard(Policy(), work), work / "scratch", None, print)
    await start.run(start.Arguments("terminal"), context)
    print("begun", flush=True)
    await asyncio.get_running_loop().create_future()

asyncio.run(main())
"""


def pair(**settings: Any) -> tuple[Tool, Tool]:
    """Return program.start and program.stop of one device."""
    found = {each.name: each for each in tools(desk().settings(**settings))}
    return found["program.start"], found["program.stop"]


def titles() -> list[str]:
    return [each["title"] for each in windows()]


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_a_program_is_started_with_its_window_and_ended_with_it(bench: Bench):
    start, stop = pair()

    async def both() -> tuple[Any, ...]:
        started = await bench.run(start, program="terminal")
        shown = await bench.run(tool("window.list"), title="begun")
        return started, shown, await bench.run(stop, id=started.id), await bench.run(stop, id=started.id)

    started, shown, stopped, again = asyncio.run(both())

    assert started.windows == [each.id for each in shown.windows]
    assert len(started.windows) == 1
    assert (stopped.was_running, again.was_running) == (True, False)
    assert children() == []
    until(lambda: "begun" not in titles())


def test_a_program_is_gone_when_its_agent_is_killed(bench: Bench):
    settings = msgspec.json.encode(desk().settings()).decode()
    command = [sys.executable, "-c", AGENT, settings, str(bench.work)]
    root = Path(__file__).parents[5]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as agent:
        assert agent.stdout
        assert agent.stdout.readline() == b"begun\n"
        assert "begun" in titles()
        agent.send_signal(signal.SIGKILL)

    until(lambda: "begun" not in titles())


def test_a_program_is_gone_when_its_agent_ends_as_it_should(bench: Bench):
    start, _ = pair()

    assert len(bench.call(start, program="terminal").windows) == 1  # its loop ends with the call

    assert children() == []
    until(lambda: "begun" not in titles())


def test_a_program_that_its_owner_has_not_named_is_refused(bench: Bench):
    start, _ = pair()
    for name in ("xterm", "terminal ", "../terminal", "pause;xterm"):
        with failing("denied", "agent.toml"):
            bench.call(start, program=name)


def test_arguments_are_added_only_where_the_owner_leaves_room_for_them(bench: Bench):
    closed, _ = pair()
    open_, _ = pair(programs={"pad": ("mousepad", "--disable-server", "...")})
    (bench.work / "plan.txt").write_text("x", "utf-8")

    with failing("denied", '"..."', "agent.toml"):
        bench.call(closed, program="terminal", arguments=["-e", "rm"])
    with failing("denied", "-e", "agent.toml"):
        bench.call(open_, program="pad", arguments=["x", "-e"])
    with pytest.raises(msgspec.ValidationError):
        bench.call(open_, program="pad", arguments=["a\0b"])
    started = bench.call(open_, program="pad", arguments=[str(bench.work / "plan.txt")])

    assert len(started.windows) == 1
    until(lambda: not [each for each in titles() if "plan.txt" in each])


def test_a_program_that_ends_at_once_is_told_with_what_it_said(bench: Bench):
    start, _ = pair(programs={"no": ("sh", "-c", "echo too bad >&2")})

    with failing("ended", "too bad"):
        bench.call(start, program="no")


def test_a_program_without_a_window_is_ended_when_one_was_waited_for(bench: Bench):
    start, _ = pair()

    with failing("no_window", retryable=True):
        bench.call(start, program="pause", wait_s=0.3)

    assert children() == []


def test_a_program_that_is_not_there_is_told(bench: Bench):
    start, _ = pair(programs={"none": ("no-such-program",)})
    with failing("program_not_found"):
        bench.call(start, program="none")


def test_a_program_that_says_very_much_is_not_held_up(bench: Bench):
    done = bench.work / "done"
    loud = f"head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; touch {done}; sleep 60"
    start, _ = pair(programs={"loud": ("sh", "-c", loud)})

    async def said() -> None:
        started = await bench.run(start, program="loud", wait_s=0)
        async with asyncio.timeout(15):
            while not done.exists():
                await bench.run(tool("window.list"))
        assert started.windows == []

    asyncio.run(said())
    assert children() == []


def test_more_programs_than_there_may_be_are_refused(bench: Bench):
    start, stop = pair()

    async def many() -> int:
        begun = [await bench.run(start, program="pause", wait_s=0) for _ in range(8)]
        with pytest.raises(ToolFailed) as caught:
            await bench.run(start, program="pause", wait_s=0)
        assert caught.value.failure.code == "too_many_programs"
        await bench.run(stop, id=begun[0].id)
        await bench.run(start, program="pause", wait_s=0)
        return len(children())

    assert asyncio.run(many()) >= 8
    assert children() == []


def test_a_program_does_not_get_the_secrets_in_the_agents_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GALAXY_SECRET", "open sesame")
    seen = bench.work / "seen"
    start, _ = pair(programs={"env": ("sh", "-c", f"env > {seen}.new; mv {seen}.new {seen}; sleep 60")})

    async def said() -> None:
        await bench.run(start, program="env", wait_s=0)
        async with asyncio.timeout(15):
            while not seen.exists():
                await bench.run(tool("window.list"))

    asyncio.run(said())
    assert f"DISPLAY={desk().env['DISPLAY']}" in seen.read_text("utf-8")
    assert "sesame" not in seen.read_text("utf-8")
