"""The commands against a node: what they print, and how they end."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from galaxy.cli.__main__ import app
from galaxy.cli.client import Client
from galaxy.cli.exits import CONSTELLATION_FAILED, INTERRUPTED, REFUSED, UNREACHABLE
from tests.galaxy.api.devices import connected
from tests.galaxy.api.helpers import TOKEN, Node
from tests.galaxy.api.served import Served, served

PLAN = """
name: plan
stars:
  - {id: a, tool: work}
  - id: b
    tool: work
    arguments: {x: {$from: a, pointer: /n}}
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "node") as node:
        yield node


def galaxy(node: Served, *words: str, token: str = TOKEN, **more: Any) -> Result:
    return CliRunner().invoke(app, words, env={"GALAXY_URL": node.url, "GALAXY_TOKEN": token}, **more)


def written(folder: Path, text: str, name: str = "plan.yaml") -> str:
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


async def worker(node: Node, *, failing: bool = False) -> None:
    """A device that does whatever it is told, for ever."""
    laptop = await connected(node, slots=4)
    while True:
        call = await laptop.call()
        if failing:
            await laptop.fail(call, "broken")
        else:
            await laptop.succeed(call, {"n": 1})


def submitted(node: Served, folder: Path, plan: str = PLAN) -> str:
    answer = galaxy(node, "run", written(folder, plan), "--json")
    assert answer.exit_code == 0, answer.output
    return str(json.loads(answer.stdout)["id"])


def test_a_run_that_is_watched_is_told_line_by_line_and_ends_well(node: Served, tmp_path: Path):
    node.begin(worker)
    answer = galaxy(node, "run", written(tmp_path, PLAN), "--watch")

    lines = answer.stdout.splitlines()
    assert answer.exit_code == 0, answer.output
    assert lines[0].endswith(": 2 stars")
    assert lines[1] == "a: attempt 1 on laptop"
    assert "plan: succeeded" in lines
    assert sum("\u25cf" in line for line in lines) == 2


def test_a_constellation_that_fails_is_exit_code_1(node: Served, tmp_path: Path):
    node.begin(lambda n: worker(n, failing=True))
    answer = galaxy(node, "run", written(tmp_path, PLAN), "--watch")

    assert answer.exit_code == CONSTELLATION_FAILED
    assert "a: failed on laptop: it is broken" in answer.stdout


def test_a_star_that_nobody_can_do_is_told_at_once_and_ctrl_c_says_how_to_go_on(
    node: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def interrupted(self: Client, constellation_id: str, after: int = 0) -> None:
        raise KeyboardInterrupt

    constellation = submitted(node, tmp_path)
    monkeypatch.setattr(Client, "follow", interrupted)
    answer = galaxy(node, "watch", constellation)

    lines = answer.stdout.splitlines()
    assert lines[0] == f"{constellation}: 2 stars"
    assert lines[1] == "a waits: no device has joined"
    assert answer.exit_code == INTERRUPTED
    assert answer.stderr == f"it goes on: galaxy watch {constellation}, galaxy cancel {constellation}\n"


def test_what_a_tool_takes_is_told_and_one_that_is_not_there_is_compared(node: Served, tmp_path: Path):
    node.begin(worker)
    assert galaxy(node, "run", written(tmp_path, PLAN), "--watch").exit_code == 0  # by now the device is here

    assert json.loads(galaxy(node, "devices", "get", "laptop", "--tool", "work").stdout)["name"] == "work"
    refused = galaxy(node, "devices", "get", "laptop", "--tool", "wrk")
    assert (refused.exit_code, refused.stderr) == (REFUSED, "laptop has no tool wrk; it has work\n")


def test_a_token_that_is_wrong_is_told_where_it_comes_from(node: Served):
    refused = galaxy(node, "list", token="wrong")

    assert refused.exit_code == REFUSED
    assert "export GALAXY_TOKEN=..., or --token" in refused.stderr


def test_watching_what_has_ended_tells_it_all_and_ends_as_it_did(node: Served, tmp_path: Path):
    constellation = submitted(node, tmp_path)
    galaxy(node, "cancel", constellation, "--reason", "enough")
    answer = galaxy(node, "watch", constellation)

    assert answer.exit_code == CONSTELLATION_FAILED
    assert "plan: cancelled" in answer.stdout


EACH_ONE = [
    ["run", "FILE", "--json"],
    ["get", "ID", "--json"],
    ["get", "ID", "--star", "a", "--json"],
    ["list", "--json"],
    ["pause", "ID", "--json"],
    ["resume", "ID", "--json"],
    ["edit", "ID", "EDIT", "--json"],
    ["devices", "--json"],
    ["devices", "get", "laptop", "--json"],
    ["token", "join", "--json"],
    ["cancel", "ID", "--json"],
    ["watch", "ID", "--json"],
    ["run", "FILE", "--watch", "--json"],
]


def test_with_json_each_command_prints_one_document_and_nothing_else(node: Served, tmp_path: Path):
    constellation = submitted(node, tmp_path, PLAN.replace("work", "fly"))
    node.do(connected)
    edit = written(tmp_path, "operations: [{op: add_star, star: {id: z, tool: fly}}]", "edit.yaml")
    short = written(tmp_path, '{"stars": [{"id": "a", "tool": "fly", "timeouts": {"queue_s": 0.01}}]}', "short.json")
    names = {"ID": constellation, "FILE": short, "EDIT": edit}
    for words in EACH_ONE:
        answer = galaxy(node, *[names.get(word, word) for word in words])

        assert answer.exit_code in (0, CONSTELLATION_FAILED), (words, answer.output)
        assert isinstance(json.loads(answer.stdout), dict), words
        assert answer.stderr == "", words


def test_for_people_each_command_says_what_is_now(node: Served, tmp_path: Path):
    constellation = submitted(node, tmp_path)
    node.do(connected)
    edit = written(tmp_path, "operations: [{op: add_star, star: {id: z, tool: fly}}]", "edit.yaml")
    said = [
        galaxy(node, *words).stdout
        for words in (
            ["pause", constellation],
            ["resume", constellation],
            ["edit", constellation, edit],
            ["get", constellation],
            ["get", constellation, "--star", "z"],
            ["list"],
            ["devices"],
            ["devices", "get", "laptop"],
            ["devices", "drain", "laptop"],
            ["devices", "revoke", "laptop"],
            ["cancel", constellation],
        )
    ]
    expected = [
        f"{constellation}: paused",
        f"{constellation}: running",
        f"{constellation} is at revision 2",
        "plan: running",
        "waits: no device is able",
        constellation,
        "laptop",
        "work",
        "laptop: draining",
        "laptop: ",
        f"{constellation}: cancel",
    ]

    assert [words in text for words, text in zip(expected, said, strict=True)] == [True] * len(said), said


def test_a_star_that_failed_for_good_is_tried_again_as_a_copy(node: Served, tmp_path: Path):
    plan = "stars: [{id: a, tool: fly, timeouts: {queue_s: 0.01}}, {id: b, tool: fly}]"
    constellation = json.loads(galaxy(node, "run", written(tmp_path, plan), "--json").stdout)["id"]

    async def failed(n: Node) -> None:
        watcher = n.runner.watch(constellation)
        while "star_failed" not in n.store.kinds(constellation):
            watcher.clear()
            await watcher.wait()

    node.do(failed)
    assert galaxy(node, "retry", constellation, "a").stdout == "a is tried again: revision 2\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["get", "nobody"], "no constellation 'nobody'"),
        (["get", "../devices"], "Not Found"),
        (["get", "x?include=analysis"], "no constellation"),
        (["get", ""], "no constellation '-'"),
        (["cancel", "a/b"], "Not Found"),
        (["watch", "nobody"], "no constellation 'nobody'"),
        (["retry", "nobody", "a"], "no constellation"),
        (["devices", "get", "nobody"], "no device 'nobody'"),
        (["list", "--state", "odd"], "state"),
        (["run", "missing.yaml"], "cannot read missing.yaml"),
    ],
)
def test_what_is_refused_is_exit_code_3_with_the_reason_on_stderr(node: Served, words: list[str], told: str):
    answer = galaxy(node, *words)

    assert answer.exit_code == REFUSED, answer.output
    assert told in answer.stderr
    assert answer.stdout == ""


def test_a_wrong_token_is_refused_with_what_to_do_next(node: Served):
    for token in ("wrong", "", "\u00e9"):
        answer = galaxy(node, "devices", token=token)

        assert answer.exit_code == REFUSED
        assert "token" in answer.stderr.lower()


def test_a_mistake_in_the_file_is_told_with_its_place(node: Served, tmp_path: Path):
    answer = galaxy(node, "run", written(tmp_path, "stars: [{id: a, tol: x}]"))

    assert answer.exit_code == REFUSED
    assert "(at /stars/0/to" in answer.stderr


def test_nobody_at_the_address_is_exit_code_4(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    for words in (["devices"], ["run", written(tmp_path, PLAN)], ["watch", "x"]):
        for where in (url, "no-scheme:1", "http://host.invalid"):
            answer = CliRunner().invoke(app, [*words, "--url", where])

            assert answer.exit_code == UNREACHABLE, (where, answer.output)
            assert "cannot reach the node" in answer.stderr


@pytest.mark.parametrize("url", ["http://[::1", "http://a:b"])
def test_an_address_that_is_none_is_refused(url: str):
    answer = CliRunner().invoke(app, ["devices", "--url", url])

    assert answer.exit_code == REFUSED
    assert "is not a URL" in answer.stderr


def test_a_node_that_cannot_record_is_exit_code_4(node: Served, tmp_path: Path):
    node.node.store.trouble = "disk full"
    answer = galaxy(node, "list")
    node.node.store.trouble = ""

    assert answer.exit_code == UNREACHABLE
    assert "disk full" in answer.stderr


def test_a_key_submits_once_however_often_it_is_run(node: Served, tmp_path: Path):
    file = written(tmp_path, PLAN)
    made = [galaxy(node, "run", file, "--key", "k", "--json").stdout for _ in range(2)]

    assert made[0] == made[1]


def test_a_plan_may_come_from_stdin(node: Served):
    assert galaxy(node, "run", "-", "--json", input=PLAN).exit_code == 0


def test_a_join_token_is_printed_alone_where_a_program_reads_it(node: Served):
    token = galaxy(node, "token", "join").stdout

    assert token.strip()
    assert token.split() == [token.strip()]


def test_why_shows_each_device_with_its_terms_or_its_reason(node: Served, tmp_path: Path):
    node.begin(worker)
    plan = PLAN + "  - {id: c, tool: fly}\n"
    constellation = submitted(node, tmp_path, plan)

    able, unable = galaxy(node, "why", "a", "--constellation", constellation), galaxy(node, "why", "c")
    told = json.loads(galaxy(node, "why", "c", "--json").stdout)

    assert able.exit_code == unable.exit_code == 0, able.output + unable.output
    assert "heft" in able.stdout
    assert "0/4" in able.stdout
    assert "it has no tool fly" in unable.stdout
    assert (told["constellation"], told["star"]) == (constellation, "c")


def test_why_of_a_star_that_nobody_has_says_what_to_name(node: Served):
    answer = galaxy(node, "why", "nothing")

    assert answer.exit_code == REFUSED
    assert "--constellation ID" in answer.stderr
