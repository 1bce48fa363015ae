"""The recordings are true to the tools: each goal again, with stars that devices' real tools carry out."""

import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_agents.errors import ToolFailed
from device_agents.guard import Policy, ProgramRule
from device_agents.tools import tools_for
from galaxy.core.binding import resolved
from galaxy.core.edit import Edit
from galaxy.core.goal import Done, Fact, GiveUp
from galaxy.core.states import READY
from galaxy.planner.llm import Llm
from galaxy.planner.provider import LlmSettings
from protocol.vocabulary import Kind
from tests.device_agents.tools.bench import Bench

from .replay import Recording, load_all, replaying
from .sky import PROGRAMLESS, Book, Sky

TOOLS = tools_for(Kind.DESKTOP)
PYTHON = {sys.executable: ProgramRule(inline_code=True)}

# What a device's guard.toml says, for whoever plays the recordings with real devices.
POLICIES = {
    "desk": Policy(programs=PYTHON),
    "atlas": Policy(programs={**PYTHON, "wc": ProgramRule()}),
    "rig": Policy(tools=PROGRAMLESS),
}


class Crew:
    """The three devices, without agents: a folder and a policy each."""

    def __init__(self, folder: Path, recording: Recording) -> None:
        self.benches = {}
        for name, policy in POLICIES.items():
            (folder / name).mkdir()
            self.benches[name] = Bench(folder / name, policy)
        for name, files in recording.files.items():
            for path, content in files.items():
                place = self.benches[name].work / path
                place.parent.mkdir(exist_ok=True)
                place.write_text(content, "utf-8")

    async def work(self, sky: Sky) -> list[Fact]:
        """Carry out what is ready until nothing is; return what a planner is asked about."""
        facts: list[Fact] = []
        while ready := [n for n, s in sky.view.stars.items() if s.state is READY and not s.failure_held]:
            for name in ready:
                facts += sky.end({name: await self.carried_out(sky, name)})
        return facts

    async def carried_out(self, sky: Sky, name: str) -> dict[str, Any]:
        star = sky.view.stars[name].star
        device = star.needs.device or "desk"
        arguments = msgspec.json.decode(resolved(star.arguments, lambda source: sky.view.stars[source].result))
        try:
            result = await self.benches[device].run(TOOLS[star.tool], **arguments)
        except ToolFailed as exc:
            return {"failure": msgspec.to_builtins(exc.failure), "device": device}
        return {"result": msgspec.to_builtins(result)}


@pytest.mark.asyncio
@pytest.mark.parametrize("recording", load_all(), ids=lambda recording: recording.name)
async def test_the_tools_fail_and_succeed_as_the_recording_expects(recording: Recording, tmp_path: Path):
    sky, book, crew = Sky(recording.goal), Book(), Crew(tmp_path, recording)
    async with replaying([recording]) as server:
        llm = Llm(LlmSettings(base_url=server.url, model="replay"), random.Random(0))
        answer: Any = await llm.plan(sky.view, book)
        while isinstance(answer, Edit):
            sky.edit(answer)
            facts = await crew.work(sky)
            answer = await llm.revise(sky.view, facts, book)

    assert (server.wrong, server.unused()) == ([], [])
    assert {Done: "done", GiveUp: "gave_up"}[type(answer)] == recording.ends_as
