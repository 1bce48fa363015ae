"""What the doctor says of each tool, and what to do about it."""

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
from msgspec import Struct
from typer.testing import CliRunner

from device_agents import doctor
from device_agents.__main__ import app
from device_agents.doctor import Finding, State, examined
from device_agents.errors import ToolFailed
from device_agents.guard import Guard, Policy
from device_agents.tools.wanted import MISSING, library, program
from protocol.vocabulary import Effect


class Nothing(Struct):
    """No arguments."""


class Plain:
    """A tool without a probe."""

    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = Nothing
    Result: ClassVar[type[Struct]] = Nothing

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    async def run(self, arguments: Any, context: Any) -> Any:
        raise AssertionError("the doctor runs nothing")


class Probing(Plain):
    """A tool whose probe does as it is told."""

    def __init__(self, name: str, fails: ToolFailed | None = None, *, hangs: bool = False) -> None:
        super().__init__(name)
        self._fails, self._hangs = fails, hangs

    async def probe(self, guard: Guard) -> None:
        if self._hangs:
            await asyncio.get_running_loop().create_future()
        if self._fails:
            raise self._fails


def test_each_tool_is_found_able_or_not_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "PROBE_WITHIN_S", 0.05)
    missing = Probing("c.missing", ToolFailed(MISSING, "install it"))
    every = [Plain("a.plain"), Probing("b.well"), missing, Probing("d.hangs", hangs=True), Plain("e.closed")]
    guard = Guard(Policy(tools=("[a-d].*",)), tmp_path)

    assert examined({tool.name: tool for tool in every}, guard) == [
        Finding("a.plain", "pure", State.UNTRIED),
        Finding("b.well", "pure", State.ABLE),
        Finding("c.missing", "pure", State.WITHDRAWN, "install it"),
        Finding("d.hangs", "pure", State.WITHDRAWN, "no answer to its probe in 0.05 s"),
        Finding("e.closed", "pure", State.FORBIDDEN, "`tools` in guard.toml would allow it"),
    ]


def test_what_is_missing_is_named_with_what_brings_it():
    with pytest.raises(ToolFailed, match=r"pip install 'galaxy\[edge\]'") as caught:
        library("no_such_library", "edge")
    assert caught.value.failure.code == MISSING
    with pytest.raises(ToolFailed, match="no-such-program is not on the PATH: install the system's package thing"):
        program("no-such-program", "thing")
    assert library("json", "edge") is json
    assert Path(program("sh", "dash")).name == "sh"


def test_the_command_prints_a_table_or_json_of_a_device_that_has_not_joined(tmp_path: Path):
    (tmp_path / "guard.toml").write_text(
        'tools = ["file.*", "shell.run", "mqtt.publish"]\n[programs.no-such-program]\n', "utf-8"
    )
    words = ["doctor", "--kind", "edge", "--state", str(tmp_path)]
    runner = CliRunner(env={"TERM": "dumb", "COLUMNS": "200"})

    table, listed = runner.invoke(app, words), runner.invoke(app, [*words, "--json"])

    found = {each["tool"]: each for each in json.loads(listed.stdout)}
    assert (table.exit_code, listed.exit_code) == (0, 0)
    assert found["shell.run"]["state"] == "withdrawn"
    assert "no-such-program" in found["shell.run"]["why"]
    assert found["http.request"]["state"] == "forbidden"
    assert all(name in table.stdout for name in found)
    assert "under [edge] in agent.toml" in table.stdout


def test_settings_that_cannot_be_read_are_refused_with_their_place(tmp_path: Path):
    (tmp_path / "agent.toml").write_text("[vitals]\ncolour = 1\n", "utf-8")

    ran = CliRunner().invoke(app, ["doctor", "--state", str(tmp_path)])

    assert ran.exit_code == 3
    assert "agent.toml" in ran.stderr
    assert "colour" in ran.stderr
