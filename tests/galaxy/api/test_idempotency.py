"""The same POST twice is one."""

import pytest

from galaxy.api import parts
from galaxy.api.idempotency import KEY_CHARS_MAX
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node, star
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

KEY = {"Idempotency-Key": "k1"}
BODY = {"stars": [star("a")]}


async def test_a_submission_with_the_same_key_is_answered_again_and_not_done_again(node: Node):
    first = await node.http.post("/v1/constellations", json=BODY, headers=KEY)
    async with nothing_recorded(node):
        again = await node.http.post("/v1/constellations", json=BODY, headers=KEY)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()


async def test_a_key_is_not_for_another_request(node: Node):
    await node.http.post("/v1/constellations", json=BODY, headers=KEY)
    async with nothing_recorded(node):
        answer = await node.http.post("/v1/constellations", json={"stars": [star("b")]}, headers=KEY)

    problem(answer, 422, "key-reused")


async def test_the_same_key_elsewhere_is_another_one(node: Node):
    ids = [(await node.http.post("/v1/constellations", json=BODY)).json()["id"] for _ in range(2)]
    answers = [await node.http.post(f"/v1/constellations/{one}:pause", headers=KEY) for one in ids]

    assert [answer.json()["state"] for answer in answers] == ["paused", "paused"]


async def test_a_refused_request_may_be_made_again_with_its_key(node: Node):
    cycle = {"stars": [star("a", arguments={"x": {"$from": "a"}})]}
    problem(await node.http.post("/v1/constellations", json=cycle, headers=KEY), 422, "invalid-edit")

    assert (await node.http.post("/v1/constellations", json=BODY, headers=KEY)).status_code == 201


async def test_a_request_that_is_being_answered_is_not_begun_twice(node: Node):
    node.store.shut()
    first = node.start(node.http.post("/v1/constellations", json=BODY, headers=KEY))
    await node.store.tries.get()
    second = await node.http.post("/v1/constellations", json=BODY, headers=KEY)
    node.store.open()

    problem(second, 409, "in-progress")
    assert (await first).status_code == 201
    assert len(node.core.constellations) == 1


async def test_a_request_whose_answer_came_too_late_is_answered_when_it_is_made_again(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    """The event stands though nobody waits for it any more: with the key, it is never recorded a second time."""
    monkeypatch.setattr(parts, "ANSWER_WITHIN_S", 0.02)
    node.store.shut()
    late = await node.http.post("/v1/constellations", json=BODY, headers=KEY)
    meanwhile = await node.http.post("/v1/constellations", json=BODY, headers=KEY)
    node.store.open()
    await node.runner.durable()
    again = await node.http.post("/v1/constellations", json=BODY, headers=KEY)

    problem(late, 503, "busy")
    problem(meanwhile, 409, "in-progress")
    assert again.status_code == 200
    assert [again.json()["id"]] == list(node.core.constellations)


async def test_what_was_done_to_a_constellation_is_answered_again_by_how_it_is_now(node: Node):
    constellation = await node.submit("a")
    at = f"/v1/constellations/{constellation}"
    paused = [await node.http.post(f"{at}:pause", headers=KEY) for _ in range(2)]
    await node.http.post(f"{at}:resume", headers=KEY)
    async with nothing_recorded(node):
        again = [await node.http.post(f"{at}:{verb}", headers=KEY) for verb in ("pause", "resume")]
    cancelled = [await node.http.post(f"{at}:cancel", headers=KEY) for _ in range(2)]

    assert [answer.json()["state"] for answer in paused] == ["paused", "paused"]
    assert [answer.json()["state"] for answer in again] == ["running", "running"]
    assert [(answer.status_code, answer.json()["state"]) for answer in cancelled] == [(202, "cancelled")] * 2


async def test_an_edit_and_a_skip_are_made_once(node: Node):
    constellation = await node.submit("a", "b")
    at = f"/v1/constellations/{constellation}"
    edit = {"operations": [{"op": "add_star", "star": star("c")}]}
    edits = [await node.http.post(f"{at}/edits", json=edit, headers=KEY) for _ in range(2)]
    skips = [await node.http.post(f"{at}/stars/a:skip", headers=KEY) for _ in range(2)]

    assert [answer.json()["revision"] for answer in (*edits, *skips)] == [2, 2, 3, 3]


async def test_a_device_is_drained_once(node: Node, laptop: Device):
    first = await node.http.post("/v1/devices/laptop:drain", headers=KEY)
    async with nothing_recorded(node):
        again = await node.http.post("/v1/devices/laptop:drain", headers=KEY)

    assert again.json() == first.json()


async def test_a_key_that_is_too_long_is_refused(node: Node):
    long = {"Idempotency-Key": "k" * (KEY_CHARS_MAX + 1)}
    answer = await node.http.post("/v1/constellations", json=BODY, headers=long)

    assert problem(answer, 422, "invalid-request")["place"] == "header:idempotency-key"
