"""What is let go and what is kept, as callers see it."""

import asyncio
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from galaxy import upkeep
from galaxy.core.events import FLEET
from galaxy.journal import artifacts_named, fleet_of, snapshot_of
from galaxy.store.contract import Recovered
from galaxy.upkeep import Keep
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node, star, waits
from tests.galaxy.api.problems import problem

pytestmark = pytest.mark.asyncio

DAY_S = 86_400.0
BYTES = b"0123456789"
NAME = hashlib.sha256(BYTES).hexdigest()
ARTIFACT = f"/v1/artifacts/{NAME}"


async def ran(node: Node, **arguments: Any) -> str:
    """Return a constellation that has ended."""
    constellation = await node.submit(star("a", arguments=arguments))
    answer = await node.http.post(f"/v1/constellations/{constellation}:cancel")
    assert answer.json()["state"] == "cancelled"
    return constellation


async def let_go(node: Node, **body: Any) -> dict[str, tuple[int, int]]:
    """Return how much of each kind went, until nothing more did."""
    total: dict[str, tuple[int, int]] = {}
    more = True
    while more:
        answer = await node.http.post("/v1/upkeep", json=body)
        assert answer.status_code == 200, answer.text
        for one in answer.json()["items"]:
            before = total.get(one["kind"], (0, 0))
            total[one["kind"]] = (before[0] + one["amount"], before[1] + one["bytes"])
        more = answer.json()["more"]
    return {kind: gone for kind, gone in total.items() if gone != (0, 0)}


async def test_what_ended_longer_ago_than_it_is_kept_is_gone_and_says_so(node: Node):
    old, going_on = await ran(node), await node.submit(star("a", "fly"))
    size = sum(len(row.body) for row in node.store.rows(old))
    events = len(node.store.rows(old))
    node.clock.jump(10 * DAY_S)
    young = await ran(node)
    node.parts.upkeep.keep = Keep(ended_s=5 * DAY_S)

    ahead = await let_go(node, dry_run=True)
    assert ahead == {"constellations": (1, 0), "events": (0, size)}
    assert (await node.constellation(old))["state"] == "cancelled", "a look changes nothing, and keeps it at hand"
    assert await let_go(node) == {"constellations": (1, 0), "events": (events, size)}

    for path in ("", "/events", "/stars/a", "/revisions"):
        problem(await node.http.get(f"/v1/constellations/{old}{path}"), 410, "forgotten")
    problem(await node.http.post(f"/v1/constellations/{old}:cancel"), 410, "forgotten")
    listed = (await node.http.get("/v1/constellations")).json()["items"]
    assert {one["id"] for one in listed} == {going_on, young}
    assert (await node.constellation(young))["state"] == "cancelled"
    node.clock.jump(upkeep.FORGOTTEN_KEPT_S + 1)
    await let_go(node)
    problem(await node.http.get(f"/v1/constellations/{old}"), 404, "unknown-id")


async def test_by_default_nothing_that_ended_goes_and_a_caller_may_say_otherwise(node: Node):
    old = await ran(node)
    node.clock.jump(10 * DAY_S)

    assert await let_go(node) == {}
    assert (await let_go(node, keep_ended_days=20)) == {}
    assert (await let_go(node, keep_ended_days=5))["constellations"] == (1, 0)
    problem(await node.http.get(f"/v1/constellations/{old}"), 410, "forgotten")
    problem(await node.http.post("/v1/upkeep", json={"keep_ended_days": 0}), 422, "invalid-request")


async def test_an_artifact_goes_with_the_last_constellation_that_names_it(node: Node):
    await node.http.put(ARTIFACT, content=BYTES)
    named = [await ran(node, file={"$artifact": NAME}) for _ in range(2)]
    node.parts.upkeep.keep = Keep(artifacts_s=DAY_S)
    node.clock.jump(10 * DAY_S)

    assert await let_go(node) == {}, f"{named} name it"
    await ran(node, file={"$artifact": NAME})
    assert "artifacts" not in await let_go(node, keep_ended_days=5)
    node.clock.jump(10 * DAY_S)
    assert (await let_go(node, keep_ended_days=5))["artifacts"] == (1, 10)
    assert (await node.http.get(ARTIFACT)).status_code == 404
    assert not node.parts.artifacts.path(NAME).exists()
    assert (await node.http.put(ARTIFACT, content=BYTES)).status_code == 201, "it may come again"


async def test_an_artifact_that_nobody_names_goes_unless_somebody_has_asked_for_it(node: Node):
    node.parts.upkeep.keep = Keep(artifacts_s=DAY_S)
    await node.http.put(ARTIFACT, content=BYTES)
    for ask in (node.http.head, node.http.put):
        node.clock.jump(0.9 * DAY_S)
        assert await let_go(node) == {}
        assert (await ask(ARTIFACT)).is_success
    node.clock.jump(0.9 * DAY_S)
    assert await let_go(node) == {}
    node.clock.jump(0.2 * DAY_S)
    assert await let_go(node, dry_run=True) == {"artifacts": (1, 10)}
    assert await let_go(node) == {"artifacts": (1, 10)}


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":{"$artifact":"%b"}}' % NAME.encode(),
        b'{"result":{"\\u0024\\u0061rtifact":"%b"}}' % NAME.encode(),
        b'{"goal":{"context":[{"artifact":"%b"}]}}' % NAME.encode(),
        b'{"result":{"$artifact":"\\u003%c%b"}}' % (NAME[0].encode(), NAME[1:].encode()),
    ],
)
async def test_an_artifact_is_named_however_its_json_is_written(body: bytes):
    assert artifacts_named(body) == {NAME}


async def test_what_names_no_artifact_costs_no_search():
    assert artifacts_named(b'{"sha":"%b"}' % NAME.encode()) == set()
    assert artifacts_named(b'{"x":"\\u0000"') == set()


async def test_a_half_upload_that_nobody_goes_on_with_goes(node: Node, tmp_path: Path):
    half = {"Content-Range": "bytes 0-4/10"}
    assert (await node.http.put(ARTIFACT, content=BYTES[:5], headers=half)).status_code == 202
    node.parts.upkeep.keep = Keep(uploads_s=DAY_S)
    assert await let_go(node) == {}
    (partial,) = (tmp_path / "artifacts" / "incoming").iterdir()
    os.utime(partial, (1.0, 1.0))

    assert await let_go(node, dry_run=True) == {"partial uploads": (1, 5)}
    assert await let_go(node) == {"partial uploads": (1, 5)}
    assert (await node.http.head(ARTIFACT)).headers["Upload-Offset"] == "0"


async def test_a_key_protects_for_its_time_and_is_then_forgotten(node: Node):
    body, key = {"stars": [star("a")]}, {"Idempotency-Key": "k1"}
    first = await node.http.post("/v1/constellations", json=body, headers=key)
    node.parts.upkeep.keep = Keep(answers_s=DAY_S)
    node.clock.jump(0.9 * DAY_S)
    await let_go(node)
    again = await node.http.post("/v1/constellations", json=body, headers=key)
    assert again.json() == first.json()
    node.clock.jump(0.2 * DAY_S)

    assert (await let_go(node))["idempotency keys"][0] == 1
    anew = await node.http.post("/v1/constellations", json=body, headers=key)
    assert (anew.status_code, anew.json()["id"] != first.json()["id"]) == (201, True)


async def test_the_fleet_is_the_same_after_the_beginning_of_its_log_was_let_go(node: Node, laptop: Device):
    seq = len(node.store.rows(FLEET))
    await node.store.snapshot(FLEET, seq, snapshot_of(node.core.fleet))
    node.clock.jump(10 * DAY_S)

    assert (await let_go(node, keep_ended_days=5))["fleet events"][0] == seq
    fleet = next(iter([one async for one in node.store.recover()]))
    assert list(fleet_of(Recovered(*fleet)).devices) == [laptop.name]


async def test_upkeep_goes_on_by_itself_by_parts_until_nothing_is_left(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(upkeep, "EVERY_S", 0.01)
    monkeypatch.setattr(upkeep, "PAUSE_S", 0.001)
    monkeypatch.setattr(upkeep, "STEP_LINES", 1)
    monkeypatch.setattr(upkeep, "STEP_EVENTS", 2)
    for _ in range(3):
        await ran(node)
    node.clock.jump(10 * DAY_S)
    node.parts.upkeep.keep = Keep(ended_s=DAY_S)
    node.store.trouble = "gone for a while"
    running = node.start(node.parts.upkeep.run())
    assert await waits(running), "a store in trouble does not end it"
    node.store.trouble = ""

    async with asyncio.timeout(5.0):
        while await node.store.streams("", 9):
            await asyncio.wait([running], timeout=0.01)
    assert await node.store.forget_events(0.0, 1) is None
