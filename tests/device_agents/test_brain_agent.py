"""Instructions and whole agents: what Galaxy hears of them, also after kill -9."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from device_agents.__main__ import BRAIN_KEY
from device_agents.tools.instruct import Instruct
from protocol.messages import Assign, Progress, Report, Revoke
from protocol.vocabulary import Effect, Outcome

from .endpoint import SILENCE, ModelServer, answering, said
from .helpers import ONCE, PURE, ToolOf, Words, assign
from .scripted import Device, Line, ScriptedGalaxy, outcome_of, until
from .test_cli import joined

A = "c/a#1"
ROOT = Path(__file__).parents[2]
BEGIN = said("shell.run", {"shell": "echo begun >> begun; sleep 60"})
TOUCH = said("shell.run", {"shell": "echo begun >> begun"})

pytestmark = pytest.mark.asyncio


def order(*tools: str, effect: Effect = ONCE, **more: Any) -> Assign:
    return assign(A, effect, "instruct", arguments={"text": "do it", "tools": tools, **more})


@asynccontextmanager
async def agent(folder: Path, *words: str) -> AsyncIterator["asyncio.subprocess.Process"]:
    """Run an agent as a process, and kill it at the end if nobody has."""
    command = [sys.executable, "-m", "device_agents", "run", "--state", str(folder), *words]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env={BRAIN_KEY: "a key", "PATH": "/usr/bin:/bin"}
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def home(folder: Path, galaxy: ScriptedGalaxy) -> Path:
    state = joined(folder / "state", galaxy, f"http://127.0.0.1:{galaxy.port}")
    (state / "guard.toml").write_text("shell = true\n")
    return state


def brain(server: ModelServer) -> tuple[str, ...]:
    return "--brain", server.endpoint().url, "--brain-model", "small"


@pytest.mark.parametrize(
    ("answers", "begun", "end", "told"),
    [
        ([SILENCE], 0, (A, Outcome.FAILED, "cut_off"), "before it did anything that counts"),
        ([BEGIN], 1, (A, Outcome.UNKNOWN, "cut_off"), "step 1, shell.run, was under way"),
        ([TOUCH, SILENCE], 1, (A, Outcome.UNKNOWN, "cut_off"), "step 1, shell.run, succeeded"),
    ],
    ids=["thinking", "in a step", "after a step"],
)
async def test_an_instruction_that_is_killed_is_never_begun_again_and_says_how_far_it_came(
    tmp_path, galaxy, answers, begun, end, told
):
    state = home(tmp_path, galaxy)
    trace = state / "work" / "begun"
    with answering(*answers) as server:
        async with agent(state, *brain(server)) as first:
            line = await galaxy.line()
            line.say(order("shell.run"))
            await until(lambda: server.silent.is_set() or (SILENCE not in answers and trace.exists()))
            first.kill()
        async with agent(state, *brain(server)):
            line = await galaxy.line()
            report = await line.next(Report)
            line.say(assign("c/b#1", tool="system.echo", arguments={"value": 1}))
            await line.next(Report)  # so it has heard that Galaxy has the first
            line.say(order("shell.run"))
            again = await line.next(Report)

    assert outcome_of(report) == outcome_of(again) == end
    assert report.failure is not None
    assert (told in report.failure.message, report.failure.retryable) == (True, begun == 0)
    assert (trace.read_text().count("begun") if trace.exists() else 0) == begun
    assert len(server.asked) == len(answers)


async def test_a_device_offers_instructions_unless_it_has_no_brain(tmp_path, galaxy):
    state = home(tmp_path, galaxy)
    offered = {}
    for words in ([], ["--brain", "off"]):
        async with agent(state, *words):
            line = await galaxy.line()
            offered[tuple(words)] = {tool.name: tool for tool in line.hello.profile.tools}

    assert offered[()]["instruct"].effect is Effect.ONCE
    assert "instruct" not in offered["--brain", "off"]


async def test_the_key_comes_from_the_environment(tmp_path, galaxy):
    with answering(said("finish", 5)) as server:
        async with agent(home(tmp_path, galaxy), *brain(server)):
            line = await galaxy.line()
            line.say(order())
            report = await line.next(Report)

    assert (outcome_of(report), bytes(report.result)) == ((A, Outcome.SUCCEEDED, ""), b"5")
    assert server.headers[0]["authorization"] == "Bearer a key"


async def test_the_galaxys_own_model_is_asked_with_the_token_of_the_session(tmp_path, galaxy):
    """The scripted Galaxy has none, and no such path: what is not a problem that explains itself is a failure."""
    async with agent(home(tmp_path, galaxy)):
        line = await galaxy.line()
        line.say(order())
        report = await line.next(Report)

    assert outcome_of(report) == (A, Outcome.FAILED, "model_failed")


async def with_brain(tmp_path: Path, galaxy: ScriptedGalaxy, server: ModelServer) -> Device:
    async def echo(words: Words, _: Any) -> Words:
        return words

    return Device(tmp_path, galaxy, ToolOf(echo), Instruct(server.model()))


async def test_galaxy_hears_how_far_an_instruction_is_and_what_it_took(tmp_path, galaxy):
    with answering(said("test.tool", {"text": "x"}), said("finish", "done")) as server:
        device = await with_brain(tmp_path, galaxy, server)
        async with device.runs():
            line = await galaxy.line()
            line.say(order("test.tool"))
            first, last, report = await line.next(Progress), await line.next(Progress), await line.next(Report)

    assert (first.note, last.note) == ("step 1: thinking", "1 steps, 220 tokens")
    assert outcome_of(report) == (A, Outcome.SUCCEEDED, "")


async def test_an_instruction_that_is_revoked_ends_as_cancelled(tmp_path, galaxy):
    with answering(SILENCE) as server:
        device = await with_brain(tmp_path, galaxy, server)
        async with device.runs():
            line = await galaxy.line()
            line.say(order())
            await until(server.silent.is_set)
            line.say(Revoke(A, "a person cancelled it"))
            assert outcome_of(await line.next(Report)) == (A, Outcome.CANCELLED, "stopped")

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("effect", "kept"), [(PURE, None), (ONCE, ())], ids=["one that may be repeated", "one that may not"]
)
async def test_an_instruction_is_journalled_as_its_effect_says(tmp_path, galaxy, effect, kept):
    with answering(SILENCE) as server:
        device = await with_brain(tmp_path, galaxy, server)
        async with device.runs():
            line: Line = await galaxy.line()
            line.say(order(effect=effect))
            await until(server.silent.is_set)
            assert device.outbox.steps(A) == kept
            line.say(Revoke(A, "seen enough"))
            await line.next(Report)
