"""Devices over HTTP, and how new ones join."""

import base64

import httpx2
import pytest

from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node
from tests.galaxy.api.problems import nothing_recorded, problem

pytestmark = pytest.mark.asyncio

KEY = base64.b64encode(bytes(range(32))).decode()


async def token_for(node: Node, **body: float) -> str:
    answer = await node.http.post("/v1/join-tokens", json=body or None)
    assert answer.status_code == 201
    token: str = answer.json()["token"]
    return token


async def joined(node: Node, token: str, name: str = "phone", key: str = KEY) -> httpx2.Response:
    return await node.http.post("/v1/join", json={"token": token, "name": name, "public_key": key})


async def test_a_device_shows_what_it_is_and_holds(node: Node, laptop: Device):
    await node.submit("a")
    await laptop.call()

    device = (await node.http.get("/v1/devices/laptop")).json()
    assert (device["presence"], device["kind"], device["slots"], device["held"]) == ("connected", "server", 4, 1)
    assert [tool["name"] for tool in device["tools"]] == ["work"]
    assert (await node.http.get("/v1/devices")).json() == {"items": [{**device, "tools": ["work"]}]}


async def test_a_device_that_has_not_connected_is_shown_as_joined(node: Node):
    await joined(node, await token_for(node))

    device = (await node.http.get("/v1/devices/phone")).json()
    assert (device["presence"], device["kind"], device["tools"]) == ("joined", None, [])


async def test_a_token_lets_one_device_join_once(node: Node):
    token = await token_for(node)
    first = await joined(node, token, "phone")
    async with nothing_recorded(node):
        second = await joined(node, token, "tablet")

    assert first.json() == {"device": "phone", "galaxy": "g1"}
    problem(second, 403, "join-refused")


async def test_of_two_that_join_at_once_with_one_token_one_is_refused(node: Node):
    token = await token_for(node)
    node.store.shut()
    joining = [node.start(joined(node, token, name)) for name in ("phone", "tablet")]
    node.store.open()

    assert sorted([(await task).status_code for task in joining]) == [201, 403]


async def test_an_expired_token_lets_nobody_join(node: Node):
    token = await token_for(node, minutes=1)
    node.clock.jump(60)
    async with nothing_recorded(node):
        answer = await joined(node, token)

    assert "expired" in problem(answer, 403, "join-refused")["detail"]


async def test_a_name_is_taken_until_its_device_is_revoked(node: Node):
    await joined(node, await token_for(node))
    token = await token_for(node)
    async with nothing_recorded(node):
        taken = await joined(node, token)
    await node.http.post("/v1/devices/phone:revoke")

    assert "exists" in problem(taken, 403, "join-refused")["detail"]
    assert (await joined(node, token)).status_code == 201


@pytest.mark.parametrize("key", ["", "not base64!", base64.b64encode(b"short").decode(), KEY + "\n", "é" * 4])
async def test_a_key_that_is_none_is_refused_and_the_token_stays(node: Node, key: str):
    token = await token_for(node)
    async with nothing_recorded(node):
        answer = await joined(node, token, key=key)

    assert problem(answer, 422, "invalid-request")["place"] == "/public_key"
    assert (await joined(node, token)).status_code == 201


@pytest.mark.parametrize("name", ["", "a/b", "a#1", "~fleet", "a\n", "x" * 81])
async def test_a_name_that_is_none_is_refused(node: Node, name: str):
    async with nothing_recorded(node):
        answer = await joined(node, "t", name=name)

    assert problem(answer, 422, "invalid-request")["place"] == "/name"


async def test_joining_needs_no_bearer_but_what_is_sent_must_be_small(node: Node):
    bare = httpx2.AsyncClient(transport=node.http._transport, base_url=node.http.base_url)
    token = await token_for(node)
    large = await bare.post("/v1/join", content=b" " * 5_000)
    answer = await bare.post("/v1/join", json={"token": token, "name": "phone", "public_key": KEY})

    problem(large, 413, "body-too-large")
    assert answer.status_code == 201


@pytest.mark.parametrize("minutes", [0, -1, 1441, "x"])
async def test_a_token_lasts_a_day_at_most(node: Node, minutes: object):
    answer = await node.http.post("/v1/join-tokens", json={"minutes": minutes})

    assert problem(answer, 422, "invalid-request")["place"] == "/minutes"


async def test_only_the_digest_of_a_token_is_recorded(node: Node):
    token = await token_for(node)

    assert token.encode() not in b"".join(row.body for row in node.store.rows())


async def test_a_drained_device_is_told_and_gets_no_new_work(node: Node, laptop: Device):
    answer = await node.http.post("/v1/devices/laptop:drain", json={"reason": "going home"})
    constellation = await node.submit("a")
    await laptop.step()

    assert answer.json()["draining"] == laptop.desk.draining == "going home"
    star = (await node.http.get(f"/v1/constellations/{constellation}/stars/a")).json()
    assert "going home" in star["wait"]["reason"]


async def test_a_revoked_device_is_sent_away_and_its_work_goes_to_another(node: Node, laptop: Device):
    tower = Device(node, "tower")
    await tower.join()
    constellation = await node.submit("a")
    call = await laptop.call()
    await tower.connect()
    answer = await node.http.post("/v1/devices/laptop:revoke")

    bye = await laptop.bye()
    assert (answer.json()["presence"], bye.code, bye.terminal) == ("revoked", "revoked", True)
    assert call.attempt == f"{constellation}/a#1"
    assert (await tower.call()).attempt == f"{constellation}/a#2"


async def test_what_is_unknown_or_revoked_is_refused(node: Node):
    await joined(node, await token_for(node))
    await node.http.post("/v1/devices/phone:revoke")
    async with nothing_recorded(node):
        unknown = [
            await node.http.get("/v1/devices/x"),
            await node.http.post("/v1/devices/x:drain"),
            await node.http.post("/v1/devices/x:revoke"),
        ]
        revoked = [await node.http.post(f"/v1/devices/phone:{verb}") for verb in ("drain", "revoke")]

    for answer in unknown:
        problem(answer, 404, "unknown-id")
    for answer in revoked:
        problem(answer, 409, "conflict")
