"""Calls that wait for a person: who is asked what, and what a yes or a no does."""

import json
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from msgspec.structs import replace

from galaxy.core.orchestrator import Orchestrator
from protocol.vocabulary import Effect
from tests.galaxy.api.devices import Device, connected, spec
from tests.galaxy.api.helpers import Node, star, waits
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

ONCE = {"approve": ["once"], "approval_within_s": 60}


@pytest_asyncio.fixture
async def tower(node: Node) -> Device:
    """A device whose calls change the world."""
    return await connected(node, "tower", effect=Effect.ONCE, slots=4)


async def waiting(node: Node) -> list[dict[str, Any]]:
    await node.runner.durable()
    items: list[dict[str, Any]] = (await node.http.get("/v1/approvals")).json()["items"]
    return items


async def decide(node: Node, constellation: str, verb: str, star_id: str = "a", **more: Any) -> httpx2.Response:
    return await node.http.post(f"/v1/constellations/{constellation}/stars/{star_id}:{verb}", **more)


async def test_what_waits_for_a_person_is_listed_with_the_very_call(node: Node, tower: Device):
    constellation = await node.submit(star("a", arguments={"path": "/tmp/x", "n": 1}), "b", constraints=ONCE)

    first, second = await waiting(node)
    assert first == {
        "constellation": constellation,
        "name": "c",
        "star": "a",
        "title": "",
        "attempt": 1,
        "device": "tower",
        "tool": "work",
        "arguments": {"path": "/tmp/x", "n": 1},
        "instruction": None,
        "effect": "once",
        "asked_at": first["asked_at"],
        "expires_at": pytest.approx(first["asked_at"] + 60),
    }
    assert second["star"] == "b"
    assert (await node.states(constellation)) == {"a": "ready", "b": "ready"}


async def test_more_than_a_page_holds_is_counted(node: Node, tower: Device):
    await node.submit("a", "b", "c", constraints=ONCE)
    await node.runner.durable()
    found = (await node.http.get("/v1/approvals", params={"limit": 2})).json()

    assert ([one["star"] for one in found["items"]], found["total"]) == (["a", "b"], 3)
    problem(await node.http.get("/v1/approvals", params={"limit": 0}), 422, "invalid-request")


async def test_of_what_waits_the_placer_keeps_an_index_also_across_a_restart(node: Node, tower: Device):
    constellation = await node.submit("a", "b", star("far", needs={"device": "nowhere"}), constraints=ONCE)
    await waiting(node)
    again = Orchestrator()
    again.restore(node.core.fleet, list(node.core.constellations.values()), node.clock())

    for core in (node.core, again):
        assert [(c.id, course.star.id) for c, course in core.placer.asked()] == [
            (constellation, "a"),
            (constellation, "b"),
        ]


async def test_an_approved_call_is_made_as_it_was_shown(node: Node, tower: Device):
    constellation = await node.submit(star("a", arguments={"x": 1}), constraints=ONCE)
    await waiting(node)
    answer = await decide(node, constellation, "approve")
    call = await tower.call()

    assert answer.json() == {"constellation": constellation, "star": "a", "attempt": 1, "decision": "approved"}
    assert (call.attempt, json.loads(bytes(call.arguments))) == (f"{constellation}/a#1", {"x": 1})
    assert await waiting(node) == []
    given = [json.loads(row.body) for row in node.store.rows(constellation) if row.kind == "approval_given"]
    assert [one["by"] for one in given] == ["api"]


async def test_nothing_is_dispatched_before_a_person_has_said_yes(node: Node, tower: Device):
    await node.submit("a", constraints=ONCE)

    assert await waits(node.start(tower.call()))


async def test_a_denied_call_is_the_failure_of_its_star_with_the_reason(node: Node, tower: Device):
    constellation = await node.submit("a", "b", lines=["a -> b"], constraints=ONCE)
    await waiting(node)
    answer = await decide(node, constellation, "deny", json={"reason": "not on a Friday"})

    picture = await node.constellation(constellation)
    assert answer.json()["decision"] == "denied"
    assert picture["stars"][0]["failure"] == {"code": "approval_denied", "message": "api denied it: not on a Friday"}
    assert {one["id"]: one["state"] for one in picture["stars"]} == {"a": "failed", "b": "skipped"}


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_another_attempt_than_the_one_that_is_asked_about_is_a_conflict(node: Node, tower: Device, verb: str):
    constellation = await node.submit("a", constraints=ONCE)
    await waiting(node)
    async with nothing_recorded(node):
        wrong = await decide(node, constellation, verb, json={"attempt": 2})

    assert f"{constellation}/a#2 does not wait" in problem(wrong, 409, "conflict")["detail"]
    assert (await decide(node, constellation, verb, json={"attempt": 1})).status_code == 200


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_what_does_not_wait_for_approval_cannot_be_decided(node: Node, tower: Device, verb: str):
    constellation = await node.submit("a", "b", lines=["a -> b"])
    async with nothing_recorded(node):
        for star_id in ("a", "b"):
            problem(await decide(node, constellation, verb, star_id), 409, "conflict")
        problem(await decide(node, constellation, verb, "z"), 404, "unknown-id")
        problem(await decide(node, "nobody", verb), 404, "unknown-id")
        problem(await decide(node, constellation, verb, json={"attempt": 0}), 422, "invalid-request")
        problem(await decide(node, constellation, verb, json={"attmpt": 1}), 422, "invalid-request")
    await node.http.post(f"/v1/constellations/{constellation}:cancel")
    await tower.succeed(await tower.call())


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_a_decision_about_a_question_that_has_lapsed_is_none_about_the_next(node: Node, tower: Device, verb: str):
    constellation = await node.submit("a", constraints=ONCE)
    (first,) = await waiting(node)
    refused = await decide(node, constellation, verb, json={"asked_at": first["asked_at"] - 1.0})
    assert problem(refused, 409, "conflict")["detail"]
    assert await node.states(constellation) == {"a": "ready"}

    answer = await decide(node, constellation, verb, json={"asked_at": first["asked_at"]})
    assert answer.status_code == 200


async def test_a_call_is_decided_about_once(node: Node, tower: Device):
    constellation = await node.submit("a", constraints=ONCE)
    await waiting(node)
    await decide(node, constellation, "approve")

    problem(await decide(node, constellation, "deny"), 409, "conflict")
    problem(await decide(node, constellation, "approve"), 409, "conflict")


async def test_the_same_decision_sent_twice_is_one(node: Node, tower: Device):
    constellation = await node.submit("a", constraints=ONCE)
    await waiting(node)
    first, second = [
        await decide(node, constellation, "approve", headers={"Idempotency-Key": "k"}, json={"reason": "yes"})
        for _ in range(2)
    ]
    other = await decide(node, constellation, "approve", headers={"Idempotency-Key": "k"}, json={"reason": "no"})

    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert node.store.kinds(constellation).count("approval_given") == 1
    problem(other, 422, "key-reused")


async def test_a_question_that_nobody_answers_lapses_and_is_not_listed(node: Node, tower: Device):
    constellation = await node.submit("a", "b", constraints=ONCE)
    await waiting(node)
    node.clock.jump(61)
    await node.runner.durable()

    assert await waiting(node) == []
    problem(await decide(node, constellation, "approve"), 409, "ended")
    assert (await node.constellation(constellation))["stars"][0]["failure"]["code"] == "approval_expired"


async def test_what_is_cancelled_or_skipped_waits_for_nobody(node: Node, tower: Device):
    constellation = await node.submit("a", "b", constraints=ONCE)
    await waiting(node)
    await node.http.post(f"/v1/constellations/{constellation}/stars/a:skip")
    assert [one["star"] for one in await waiting(node)] == ["b"]
    problem(await decide(node, constellation, "deny"), 409, "conflict")

    await node.http.post(f"/v1/constellations/{constellation}:cancel")
    assert await waiting(node) == []


async def test_an_instruction_is_shown_with_its_words_and_tools(node: Node):
    device = Device(node, "tower", effect=Effect.ONCE)
    device.profile = replace(device.profile, tools=(*device.profile.tools, spec("instruct")))
    await device.join()
    await device.connect()
    told = {"text": "tidy up", "tips": "gently", "tools": ["work"]}
    await node.submit({"id": "a", "instruction": told, "needs_approval": True})

    assert [(one["tool"], one["instruction"]) for one in await waiting(node)] == [("instruct", told)]
