"""Standing rules: calls that a person has approved in advance, and no others."""

import json
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from protocol.vocabulary import Effect
from tests.galaxy.api.devices import Device, connected
from tests.galaxy.api.helpers import Node, star
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

ONCE = {"approve": ["once"]}
HOUR_S = 3600


@pytest_asyncio.fixture
async def tower(node: Node) -> Device:
    return await connected(node, "tower", effect=Effect.ONCE, slots=4)


async def make(node: Node, pattern: Any, tool: str = "work", **more: Any) -> httpx2.Response:
    return await node.http.post("/v1/rules", json={"tool": tool, "pattern": pattern, **more})


async def waiting(node: Node) -> list[str]:
    await node.runner.durable()
    return [one["star"] for one in (await node.http.get("/v1/approvals")).json()["items"]]


async def test_a_rule_says_who_made_it_until_when_and_what_it_lets_through(node: Node, tower: Device):
    answer = await make(node, {"path": "/tmp/*", "mode": 5}, device="tower", hours=2, owner="Ada")
    made = answer.json()

    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/rules/{made['id']}"
    assert made == {
        "id": made["id"],
        "tool": "work",
        "pattern": {"path": "/tmp/*", "mode": 5},
        "device": "tower",
        "made_at": made["made_at"],
        "expires_at": made["made_at"] + 2 * HOUR_S,
        "by": "Ada",
        "allows": 'calls of work on tower whose arguments are no others than: path like "/tmp/*", mode is 5 '
        "(* stands for any characters)",
    }
    assert (await node.http.get("/v1/rules")).json() == {"items": [made]}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ({}, "calls of work on any device without arguments"),
        ({"a": "b"}, 'calls of work on any device whose arguments are no others than: a is "b"'),
        (
            {"a": [{"b": "*"}]},
            'calls of work on any device whose arguments are no others than: a like [{"b": "*"}] '
            "(* stands for any characters)",
        ),
        ({'a is "b", c': 1}, 'calls of work on any device whose arguments are no others than: "a is \\"b\\", c" is 1'),
    ],
)
async def test_a_rule_is_told_in_words_that_cannot_be_misread(node: Node, pattern: Any, words: str):
    made = (await make(node, pattern)).json()

    assert (made["allows"], made["by"], made["expires_at"] - made["made_at"]) == (words, "api", 24 * HOUR_S)


async def test_a_rule_lets_through_what_fits_it_and_nothing_else(node: Node, tower: Device):
    await make(node, {"path": "/tmp/*"})
    constellation = await node.submit(
        star("fits", arguments={"path": "/tmp/x"}),
        star("elsewhere", arguments={"path": "/etc/x"}),
        star("more", arguments={"path": "/tmp/x", "force": True}),
        constraints=ONCE,
    )

    assert sorted(await waiting(node)) == ["elsewhere", "more"]
    assert (await tower.call()).attempt == f"{constellation}/fits#1"


async def test_a_rule_also_approves_what_waits_already(node: Node, tower: Device):
    constellation = await node.submit(star("a", arguments={"x": 1}), constraints=ONCE)
    assert await waiting(node) == ["a"]
    rule = (await make(node, {"x": 1}, owner="Ada")).json()["id"]

    assert (await tower.call()).attempt == f"{constellation}/a#1"
    given = [json.loads(row.body) for row in node.store.rows(constellation) if row.kind == "approval_given"]
    assert [(one["by"], one["rule"]) for one in given] == [("Ada", rule)]


async def test_a_rule_that_has_ended_approves_nothing_more(node: Node, tower: Device):
    rule = (await make(node, {})).json()["id"]
    ended = await node.http.delete(f"/v1/rules/{rule}")
    await node.submit("a", constraints=ONCE)

    assert (ended.status_code, ended.json()["id"]) == (200, rule)
    assert await waiting(node) == ["a"]
    assert (await node.http.get("/v1/rules")).json() == {"items": []}
    problem(await node.http.delete(f"/v1/rules/{rule}"), 404, "unknown-id")


async def test_a_rule_that_has_run_out_is_not_listed_and_approves_nothing(node: Node, tower: Device):
    await make(node, {}, hours=1)
    node.clock.jump(HOUR_S + 1)
    await node.submit("a", constraints=ONCE)

    assert await waiting(node) == ["a"]
    assert (await node.http.get("/v1/rules")).json() == {"items": []}


async def test_the_same_rule_sent_twice_is_made_once(node: Node):
    first, second = [
        await node.http.post("/v1/rules", json={"tool": "work", "pattern": {}}, headers={"Idempotency-Key": "k"})
        for _ in range(2)
    ]

    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert len((await node.http.get("/v1/rules")).json()["items"]) == 1


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no pattern": ({"tool": "work"}, "invalid-request", "/pattern"),
    "a pattern of anything": ({"tool": "work", "pattern": "*"}, "invalid-request", "/pattern"),
    "no tool": ({"pattern": {}}, "invalid-request", "/tool"),
    "for ever": ({"tool": "work", "pattern": {}, "hours": 24 * 365 + 1}, "invalid-request", "/hours"),
    "for no time": ({"tool": "work", "pattern": {}, "hours": 0}, "invalid-request", "/hours"),
    "unknown field": ({"tool": "work", "pattern": {}, "by": "me"}, "invalid-request", "/by"),
    "too large": ({"tool": "work", "pattern": {"x": "y" * 20_000}}, "invalid-edit", "/pattern"),
    "half a character": ({"tool": "work", "pattern": {"x": "\ud800"}}, "invalid-edit", "/pattern"),
    "any instruction": ({"tool": "instruct", "pattern": {}}, "invalid-edit", "/tool"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_makes_no_rule_is_refused_with_its_place(node: Node, name: str):
    body, code, place = REFUSED[name]
    async with nothing_recorded(node):
        answer = await node.http.post(
            "/v1/rules", content=json.dumps(body), headers={"Content-Type": "application/json"}
        )

    assert problem(answer, 422, code)["place"] == place


async def test_a_rule_for_a_device_that_nobody_knows_is_refused(node: Node):
    async with nothing_recorded(node):
        problem(await make(node, {}, device="towr"), 404, "unknown-id")
