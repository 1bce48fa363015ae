"""The documents tell the truth: what they name exists, and what they show runs."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer

from device_agents.tools import tools_for
from device_agents.tools.settings import load
from protocol.vocabulary import Kind

ROOT = Path(__file__).parent.parent
HANDS = (ROOT / "docs" / "hands.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

LINK = re.compile(r"\[[^\]]+\]\(([^)#]+?)(?:#[^)]*)?\)")
FILE = re.compile(r"`((?:protocol|galaxy|core|device_agents|nebulabench)/[\w/]+\.py)`")
PROGRAMS = {
    "galaxy": "galaxy.cli.__main__",
    "galaxy-agent": "device_agents.__main__",
    "nebulabench": "nebulabench.__main__",
}


def shown_commands() -> list[list[str]]:
    """Return each call of our programs in the README's shell blocks, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [part.strip() for block in blocks for line in block.splitlines() for part in line.split("#")[0].split("&&")]
    calls = [shlex.split(line.removeprefix("uv run ")) for line in lines if line.startswith("uv run ")]
    return [call for call in calls if call[0] in PROGRAMS]


def test_every_tool_of_every_kind_stands_in_the_page_of_hands_and_no_other():
    rows = re.findall(r"^\| (all|server|desktop|mobile|edge) \| (.*?) \|", HANDS, re.MULTILINE)
    told = {kind: sorted(re.findall(r"`([a-z0-9]+\.[a-z_]+)`", cell)) for kind, cell in rows}
    everywhere = set.intersection(*(set(tools_for(kind)) for kind in Kind))

    assert told.pop("all") == sorted(everywhere)
    assert told == {str(kind): sorted(set(tools_for(kind)) - everywhere) for kind in Kind}


def test_the_settings_in_the_page_of_hands_are_settings(tmp_path: Path):
    for number, block in enumerate(re.findall(r"```toml\n(.*?)```", HANDS, re.DOTALL)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "agent.toml").write_text(block, "utf-8")
        assert load(folder) != load(tmp_path)


def test_the_readme_is_short_and_begins_with_two_commands():
    assert len(README.splitlines()) <= 120
    assert "pip install uv && uv run galaxy demo" in README
    assert "\nuv run --all-extras pytest" in README


def test_the_readme_shows_calls_of_every_program():
    assert {call[0] for call in shown_commands()} == {"galaxy", "galaxy-agent"}


@pytest.mark.parametrize("call", shown_commands(), ids=" ".join)
def test_each_call_in_the_readme_is_one_that_the_program_knows(call: list[str]):
    command = typer.main.get_command(importlib.import_module(PROGRAMS[call[0]]).app)
    words = call[1:]
    context = command.make_context(call[0], list(words), resilient_parsing=True)
    while hasattr(command, "commands") and words:
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert context is not None
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_and_file_that_a_page_names_is_there(page: Path):
    text = page.read_text("utf-8")
    links = [link for link in LINK.findall(text) if "://" not in link]
    files = [name if not name.startswith("core/") else f"galaxy/{name}" for name in FILE.findall(text)]

    assert [link for link in links if not (page.parent / link).exists()] == []
    assert [name for name in files if not (ROOT / name).exists()] == []
