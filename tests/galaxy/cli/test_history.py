"""The commands about the history of a constellation: what they print, and how they end."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from galaxy.cli.__main__ import app
from galaxy.cli.client import ANSWER_WITHIN_S
from galaxy.cli.exits import REFUSED, UNREACHABLE
from galaxy.cli.history import BACKTEST_WITHIN_S
from galaxy.planner.provider import LlmSettings
from tests.galaxy.api.devices import connected
from tests.galaxy.api.served import Served, served
from tests.galaxy.cli.test_commands import PLAN, galaxy, submitted, written


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


def test_a_dry_run_shows_people_what_would_change_and_what_that_would_mean(node: Served, tmp_path: Path):
    node.do(connected)
    constellation = submitted(node, tmp_path, PLAN.replace("work", "walk"))
    text = """
    operations:
      - {op: add_star, star: {id: z, tool: fly}}
      - {op: add_line, line: {source: b, target: z}}
      - {op: update_star, star: {id: a, tool: swim}}
    """
    file = written(tmp_path, text, "edit.yaml")
    answer = galaxy(node, "edit", constellation, file, "--dry-run")
    rows = [" ".join(line.split()) for line in answer.stdout.splitlines()]

    assert rows[0] == f"{constellation} would be at revision 2, from 1. Nothing is changed."
    assert "+ star z (fly)" in rows
    assert "+ line b -> z on success" in rows
    assert "~ star a tool walk swim" in rows
    assert "critical path a > b a > b > z" in rows
    assert "stars, not ended 2, 2 3, 3" in rows
    assert any(row.startswith("forecast ") and row.endswith(" s") for row in rows)
    assert rows[-2:] == ["z could go to no device now", "not laptop: it has no tool fly"]
    assert json.loads(galaxy(node, "edit", constellation, file, "--dry-run", "--json").stdout)["dry_run"] is True
    assert json.loads(galaxy(node, "get", constellation, "--json").stdout)["revision"] == 1


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


def test_a_backtest_waits_as_long_as_it_is_told_to_and_says_that_the_node_may_still_be_at_it():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        words = ["backtest", "c", "--planner", "llm", "--within-s", "1", "--url", url, "--token", "t"]
        answer = CliRunner().invoke(app, words)

    assert (answer.exit_code, answer.stdout) == (UNREACHABLE, "")
    assert "has not answered in time; it may still be at it" in answer.stderr


def test_a_backtest_waits_longer_than_other_commands_where_nothing_else_is_said():
    assert BACKTEST_WITHIN_S > 10 * LlmSettings(base_url="", model="m").total_timeout_s > ANSWER_WITHIN_S
