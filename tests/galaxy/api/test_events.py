"""A constellation's events: in pages, and as they happen."""

import json

import pytest
from msgspec import Raw

from galaxy.api import events
from protocol.messages import Report
from protocol.vocabulary import Outcome
from tests.galaxy.api.asgi import EventStream
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import Node, waits
from tests.galaxy.api.problems import problem

pytestmark = pytest.mark.asyncio


async def test_events_are_read_in_pages_without_a_gap(node: Node, laptop: Device):
    constellation = await node.submit("a")
    await laptop.succeed(await laptop.call(), {"rows": 3})
    seen, after = [], 0
    while page := (await node.http.get(events_of(constellation, after=after, limit=1))).json()["items"]:
        seen += page
        after = page[-1]["seq"]

    assert [one["seq"] for one in seen] == [1, 2, 3, 4]
    assert [one["kind"] for one in seen] == node.store.kinds(constellation)
    assert seen[2]["result"] == {"rows": 3}
    assert (await node.http.get(events_of(constellation, after=4))).json() == {"items": [], "next": 4}


async def test_a_page_shows_what_a_device_said_even_where_it_is_hard_to_read(node: Node, laptop: Device):
    constellation = await node.submit("a")
    call = await laptop.call()
    await laptop.report(Report(call.attempt, Outcome.SUCCEEDED, Raw(b'{"huge":1e999}')))

    answer = await node.http.get(events_of(constellation))
    assert answer.status_code == 200
    assert '"result":{"huge":1e999}' in answer.text
    assert (await node.constellation(constellation))["state"] == "succeeded"


@pytest.mark.parametrize("query", ["after=-1", "after=x", f"after={10**30}", "limit=0", "limit=1001"])
async def test_a_query_that_makes_no_sense_is_refused_with_its_name(node: Node, query: str):
    constellation = await node.submit("a")
    answer = await node.http.get(f"/v1/constellations/{constellation}/events?{query}")

    assert problem(answer, 422, "invalid-request")["place"] == f"query:{query.partition('=')[0]}"


@pytest.mark.parametrize("last", ["x", "-1", str(10**30)])
async def test_a_last_event_id_that_makes_no_sense_is_refused(node: Node, last: str):
    constellation = await node.submit("a")
    answer = await node.http.get(events_of(constellation), headers={"Last-Event-ID": last})

    assert problem(answer, 422, "invalid-request")["place"] == "header:last-event-id"


async def test_a_stream_tells_what_has_happened_then_what_happens_and_ends_with_the_constellation(
    node: Node, laptop: Device
):
    constellation = await node.submit("a")
    stream = EventStream(node, constellation)
    assert await stream.begin() == 200
    first = await stream.next()
    await laptop.succeed(await laptop.call())
    rest = [await stream.number() for _ in range(4)]

    assert first is not None
    number, kind, data, _, _ = first.split("\n")
    assert (number, kind) == ("id: 1", "event: constellation_submitted")
    assert json.loads(data.removeprefix("data: "))["seq"] == 1
    assert rest == [2, 3, 4, None]
    await stream.task


async def test_a_stream_goes_on_after_the_last_event_that_its_reader_has_seen(node: Node, laptop: Device):
    constellation = await node.submit("a")
    await laptop.succeed(await laptop.call())
    stream = EventStream(node, constellation, ("last-event-id", "2"))
    await stream.begin()

    assert [await stream.number() for _ in range(3)] == [3, 4, None]


async def test_a_stream_that_has_told_all_ends_at_once(node: Node):
    constellation = await node.submit("a")
    await node.http.post(f"/v1/constellations/{constellation}:cancel")
    stream = EventStream(node, constellation, ("last-event-id", "99"))
    await stream.begin()

    assert await stream.next() is None


async def test_a_stream_that_begins_while_the_end_is_being_written_tells_the_end(node: Node):
    """The core has forgotten the constellation then, and the store does not know of its end yet."""
    constellation = await node.submit("a")
    node.store.shut()
    cancelling = node.start(node.http.post(f"/v1/constellations/{constellation}:cancel"))
    await node.store.tries.get()
    stream = EventStream(node, constellation)
    await stream.begin()
    assert await stream.number() == 1
    assert not cancelling.done()
    node.store.open()

    assert [await stream.number() for _ in range(3)] == [2, 3, None]


async def test_a_stream_shows_nothing_before_it_is_recorded(node: Node):
    constellation = await node.submit("a")
    stream = EventStream(node, constellation)
    await stream.begin()
    await stream.number()
    node.store.shut()
    node.start(node.http.post(f"/v1/constellations/{constellation}:pause"))
    await node.store.tries.get()
    telling = node.start(stream.number())

    assert await waits(telling)
    node.store.open()
    assert await telling == 2


async def test_a_reader_that_does_not_read_keeps_nobody_waiting_and_misses_nothing(node: Node, laptop: Device):
    constellation = await node.submit("a", "b", "c", lines=["a -> b", "b -> c"])
    stream = EventStream(node, constellation)
    await stream.begin()
    for _ in range(3):
        await laptop.succeed(await laptop.call())
    assert constellation not in node.core.constellations

    numbers = [await stream.number() for _ in range(len(node.store.rows(constellation)))]
    assert numbers == list(range(1, len(numbers) + 1))
    assert await stream.number() is None


async def test_a_silent_stream_gives_signs_of_life(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "SIGN_OF_LIFE_S", 0.01)
    stream = EventStream(node, await node.submit("a"))
    await stream.begin()
    await stream.number()

    assert await stream.next() == ": alive\n\n"


async def test_a_stream_ends_when_the_store_fails_so_that_its_reader_comes_back(node: Node):
    constellation = await node.submit("a")
    stream = EventStream(node, constellation)
    await stream.begin()
    await stream.number()
    node.store.trouble = "disk full"
    node.runner.stir()

    assert await stream.next() is None


async def test_a_stream_ends_when_the_node_stops_and_nobody_is_watched_any_more(node: Node):
    stream = EventStream(node, await node.submit("a"))
    await stream.begin()
    await stream.number()
    node.parts.is_stopping = True
    node.runner.stir()

    assert await stream.next() is None
    await stream.task
    assert not node.runner._watchers


def events_of(constellation: str, **query: int) -> str:
    return f"/v1/constellations/{constellation}/events?" + "&".join(f"{key}={value}" for key, value in query.items())
