"""The commands about approvals and rules: what they print, and how they end."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from galaxy.cli.approvals import span
from galaxy.cli.exits import REFUSED
from protocol.vocabulary import Effect
from tests.galaxy.api.devices import connected
from tests.galaxy.api.helpers import star
from tests.galaxy.api.served import Served, served
from tests.galaxy.cli.test_commands import galaxy


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "node") as node:
        node.do(lambda n: connected(n, "tower", effect=Effect.ONCE, slots=4))
        yield node


def asked(node: Served) -> str:
    stars = (star("a", arguments={"x": 1}), star("b"))
    return node.do(lambda n: n.submit(*stars, constraints={"approve": ["once"]}))


def test_what_waits_is_listed_with_the_call_and_the_time_that_is_left(node: Served):
    constellation = asked(node)
    said = galaxy(node, "approvals").stdout

    for words in ("expires in", "a#1", 'work {"x": 1}', "once", "24 h", f"Next: galaxy approve {constellation} a"):
        assert words in said


def test_a_call_is_approved_or_denied_by_its_star(node: Served):
    constellation = asked(node)

    assert galaxy(node, "approve", constellation, "a", "--attempt", "1").stdout == f"{constellation}/a#1: approved\n"
    assert galaxy(node, "deny", constellation, "b", "--reason", "no").stdout == f"{constellation}/b#1: denied\n"
    again = galaxy(node, "deny", constellation, "b")
    assert (again.exit_code, "does not wait for approval" in again.stderr) == (REFUSED, True)


def test_a_rule_is_added_listed_and_ended(node: Served):
    words = ["rules", "add", "--tool", "work", "--pattern", '{"x": "*"}', "--device", "tower", "--owner", "Ada"]
    made = json.loads(galaxy(node, *words, "--hours", "2", "--json").stdout)
    listed = galaxy(node, "rules").stdout

    assert made["expires_at"] - made["made_at"] == pytest.approx(7200)
    assert all(text in listed for text in (made["id"], "Ada", "calls of work on tower"))
    assert galaxy(node, "rules", "end", made["id"]).stdout == f"{made['id']} has ended\n"
    assert galaxy(node, "rules", "end", made["id"]).exit_code == REFUSED


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give one of"),
        (["--arguments", "{}", "--pattern", "{}"], "give one of"),
        (["--arguments", '{"x": "*"}'], "--pattern instead"),
        (["--arguments", '{"x": "\\u002a"}'], "--pattern instead"),
        (["--pattern", "{"], "not JSON"),
        (["--pattern", "[]"], "/pattern"),
    ],
)
def test_a_rule_that_does_not_say_what_it_lets_through_is_refused(node: Served, words: list[str], told: str):
    answer = galaxy(node, "rules", "add", "--tool", "work", *words)

    assert (answer.exit_code, told in answer.stderr) == (REFUSED, True), answer.output


def test_with_json_each_of_these_commands_prints_one_document(node: Served):
    constellation = asked(node)
    made = json.loads(galaxy(node, "rules", "add", "--tool", "fly", "--arguments", "{}", "--json").stdout)
    for words in (
        ["approvals"],
        ["approve", constellation, "a"],
        ["deny", constellation, "b"],
        ["rules"],
        ["rules", "end", made["id"]],
    ):
        answer = galaxy(node, *words, "--json")

        assert answer.exit_code == 0, answer.output
        assert isinstance(json.loads(answer.stdout), dict)


@pytest.mark.parametrize(
    ("seconds", "words"), [(-5, "now"), (59.4, "59 s"), (150, "2 min"), (7200, "2 h"), (3 * 86_400, "3 d")]
)
def test_a_time_that_is_left_is_said_as_people_say_it(seconds: float, words: str):
    assert span(seconds) == words
