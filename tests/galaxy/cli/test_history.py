"""The commands about the history of a constellation: what they print, and how they end."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from galaxy.cli.exits import REFUSED
from tests.galaxy.api.served import Served, served
from tests.galaxy.cli.test_commands import galaxy, submitted, written


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "node") as node:
        yield node


def changed(node: Served, folder: Path) -> str:
    """Return a constellation with a second revision."""
    constellation = submitted(node, folder)
    text = "operations: [{op: add_star, star: {id: z, tool: fly}}, {op: update_star, star: {id: a, tool: swim}}]"
    assert galaxy(node, "edit", constellation, written(folder, text, "edit.yaml")).exit_code == 0
    return constellation


def test_for_people_each_command_says_what_was_and_what_is(node: Served, tmp_path: Path):
    constellation = changed(node, tmp_path)
    listed = galaxy(node, "revisions", constellation).stdout
    shown = galaxy(node, "diff", constellation, "2").stdout
    compared = galaxy(node, "backtest", constellation, "--planner", "repair", "--when", "always").stdout
    forked = galaxy(node, "fork", constellation, "--revision", "1", "--name", "other").stdout

    assert "add_star, update_star" in listed
    assert "star z (fly)" in shown
    assert ("work" in shown, "swim" in shown) == (True, True)
    assert "0 questions" in compared
    assert "teacher-forced" in compared
    assert f"goes on from {constellation}@1: 0 of 2 stars keep their results" in forked
    assert galaxy(node, "undo", constellation).stdout == f"{constellation} is at revision 3: 2 is taken back\n"


def test_with_json_each_command_prints_one_document(node: Served, tmp_path: Path):
    constellation = changed(node, tmp_path)
    for words in (
        ["revisions", constellation],
        ["diff", constellation, "2"],
        ["fork", constellation, "--star", "a"],
        ["backtest", constellation, "--planner", "repair"],
        ["undo", constellation, "--revision", "2"],
    ):
        answer = galaxy(node, *words, "--json")

        assert answer.exit_code == 0, (words, answer.output)
        assert isinstance(json.loads(answer.stdout), dict), words


def test_what_cannot_be_taken_back_ends_as_refused(node: Served, tmp_path: Path):
    answer = galaxy(node, "undo", submitted(node, tmp_path))

    assert (answer.exit_code, answer.stdout) == (REFUSED, "")
    assert "submission" in answer.stderr
