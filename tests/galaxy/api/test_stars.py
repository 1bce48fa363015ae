"""Stars over HTTP: look at one, try it again, do without it."""

import pytest

from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node, star
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio


async def test_a_star_says_where_it_ran_and_why_there(node: Node, laptop: Device):
    constellation = await node.submit("a")
    await laptop.fail(await laptop.call(), "broken")

    picture = (await node.http.get(f"/v1/constellations/{constellation}/stars/a")).json()
    attempt = picture["attempts"][0]
    assert (picture["state"], picture["failure"]) == ("failed", {"code": "broken", "message": "it is broken"})
    assert (attempt["device"], attempt["outcome"]) == ("laptop", "failed")
    assert attempt["placement"] == {
        "candidates": [
            {
                "device": "laptop",
                "starts_in_s": 0.0,
                "held": 0,
                "slots": 4,
                "runs_s": 0.0,
                "moves_s": 0.0,
                "behind_s": 0.0,
                "burden_s": 0.0,
                "burden": None,
            }
        ],
        "refused": {},
    }


async def test_a_star_that_no_device_can_take_says_why_not(node: Node, laptop: Device):
    constellation = await node.submit(star("a", "fly"))

    wait = (await node.http.get(f"/v1/constellations/{constellation}/stars/a")).json()["wait"]
    assert wait["refused"].keys() == {"laptop"}
    assert "no device is able: laptop: " in wait["reason"]


async def test_a_star_that_failed_is_tried_again_as_a_copy_with_what_was_skipped_behind_it(node: Node, laptop: Device):
    constellation = await node.submit("a", "b", "other", lines=["a -> b"])
    for _ in range(2):
        call = await laptop.call()
        if "/a#" in call.attempt:
            await laptop.fail(call)
    answer = await node.http.post(f"/v1/constellations/{constellation}/stars/a:retry")

    assert answer.json() == {"id": constellation, "revision": 2}
    assert (await laptop.call()).attempt == f"{constellation}/a~2#1"
    states = await node.states(constellation)
    assert (states["a"], states["b"], states["b~2"]) == ("failed", "skipped", "waiting")


async def test_a_star_that_waits_for_a_person_is_tried_again_in_its_place(node: Node, laptop: Device):
    constellation = await node.submit(star("a", on_failure="pause"))
    await laptop.fail(await laptop.call())
    answer = await node.http.post(f"/v1/constellations/{constellation}/stars/a:retry")

    assert answer.status_code == 200
    assert (await laptop.call()).attempt == f"{constellation}/a#2"


async def test_a_star_that_is_skipped_takes_with_it_what_needed_it(node: Node):
    constellation = await node.submit("a", "b", "c", lines=["a -> b"])
    answer = await node.http.post(f"/v1/constellations/{constellation}/stars/a:skip", json={"reason": "no need"})

    assert answer.json() == {"id": constellation, "revision": 2}
    assert await node.states(constellation) == {"a": "skipped", "b": "skipped", "c": "ready"}


async def test_what_cannot_be_done_to_a_star_is_refused_with_the_reason(node: Node, laptop: Device):
    constellation = await node.submit("a")
    await laptop.call()
    async with nothing_recorded(node):
        retry = await node.http.post(f"/v1/constellations/{constellation}/stars/a:retry")
        skip = await node.http.post(f"/v1/constellations/{constellation}/stars/a:skip")
        unknown = [
            await node.http.get(f"/v1/constellations/{constellation}/stars/x"),
            await node.http.post(f"/v1/constellations/{constellation}/stars/x:retry"),
            await node.http.post(f"/v1/constellations/{constellation}/stars/x:skip"),
        ]
        malformed = await node.http.post(f"/v1/constellations/{constellation}/stars/a:skip", json={"why": "x"})

    assert "does not wait" in problem(retry, 422, "invalid-edit")["detail"]
    assert "leased already" in problem(skip, 422, "invalid-edit")["detail"]
    for answer in unknown:
        problem(answer, 404, "unknown-id")
    assert problem(malformed, 422, "invalid-request")["place"] == "/why"


async def test_placement_shows_every_device_with_its_terms_or_its_reason(node: Node, laptop: Device):
    constellation = await node.submit("a", star("b", "fly"))
    await laptop.call()

    path = f"/v1/constellations/{constellation}/stars"
    taken, waiting = [(await node.http.get(f"{path}/{each}/placement")).json() for each in "ab"]

    (able,) = taken["devices"]
    assert taken["last"] == {"attempt": 1, "device": "laptop", "outcome": None}
    assert (taken["policy"], able["able"], able["held"], able["slots"]) == ("heft", True, 1, 4)
    assert able["score_s"] == sum(able[term] for term in ("starts_in_s", "moves_s", "runs_s", "behind_s"))
    (refused,) = waiting["devices"]
    assert (refused["able"], refused["reason"], refused["score_s"]) == (False, "it has no tool fly", None)
    assert "no device is able" in waiting["wait"]


async def test_placement_of_a_star_that_has_ended_or_is_not_there_is_answered(node: Node, laptop: Device):
    constellation = await node.submit("a")
    await laptop.succeed(await laptop.call())
    path = f"/v1/constellations/{constellation}/stars"

    ended = (await node.http.get(f"{path}/a/placement")).json()
    assert (ended["state"], ended["wait"], ended["last"]["outcome"]) == ("succeeded", None, "succeeded")
    assert (await node.http.get(f"{path}/nothing/placement")).status_code == 404
