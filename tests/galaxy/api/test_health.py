"""Health, readiness and metrics, and what a node does while its store fails."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from galaxy import runner
from galaxy.api import parts
from tests.galaxy.api.devices import Device
from tests.galaxy.api.helpers import TOKEN, Node, star, waits
from tests.galaxy.api.problems import problem

pytestmark = pytest.mark.asyncio


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked again at once, and callers wait for a moment only."""
    monkeypatch.setattr(runner, "STORE_RETRY_S", (0.001,))
    monkeypatch.setattr(parts, "ANSWER_WITHIN_S", 0.05)


async def test_a_node_that_lives_and_can_record_says_so_to_everyone(node: Node):
    node.http.headers.pop("Authorization")

    for path in ("/healthz", "/readyz"):
        answer = await node.http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_a_node_that_stops_is_alive_and_not_ready(node: Node):
    node.parts.is_stopping = True
    ready = await node.http.get("/readyz")

    assert (ready.status_code, ready.json()) == (503, {"status": "stopping"})
    assert (await node.http.get("/healthz")).status_code == 200


@pytest.mark.usefixtures("impatient")
async def test_while_the_store_fails_nothing_is_promised_or_given_out_and_afterwards_nothing_is_missing(
    node: Node, laptop: Device
):
    node.store.trouble = "the disk is full"
    late = await node.http.post("/v1/constellations", json={"stars": [star("a")]})
    ready = await node.http.get("/readyz")
    refused = [
        await node.http.post("/v1/constellations", json={"stars": [star("b")]}),
        await node.http.get("/v1/constellations"),
        await node.http.get("/v1/devices"),
        *[await node.http.get(f"/v1/constellations/{one}") for one in node.core.constellations],
    ]
    calling = node.start(laptop.call())
    assert await waits(calling), "no device was told anything"
    assert (await node.http.get("/healthz")).status_code == 200

    problem(late, 503, "busy")
    assert (ready.status_code, ready.json()) == (503, {"status": "unready", "detail": "the store: the disk is full"})
    for answer in refused:
        problem(answer, 503, "store-unavailable")

    node.store.trouble = ""
    assert (await calling).attempt == f"{next(iter(node.core.constellations))}/a#1"
    assert (await node.http.get("/readyz")).status_code == 200
    (constellation,) = node.core.constellations
    assert node.store.kinds(constellation) == ["constellation_submitted", "star_leased"]


@pytest.mark.usefixtures("impatient")
async def test_a_report_that_comes_while_the_store_fails_is_acknowledged_when_it_is_recorded(
    node: Node, laptop: Device
):
    constellation = await node.submit("a")
    call = await laptop.call()
    node.store.trouble = "gone"
    reporting = node.start(laptop.succeed(call))
    assert await waits(reporting)
    assert laptop.desk.owed

    node.store.trouble = ""
    await reporting
    assert (await node.constellation(constellation))["state"] == "succeeded"


async def test_metrics_can_be_read_by_prometheus(node: Node, laptop: Device):
    await node.submit("a", "b")
    await laptop.succeed(await laptop.call())
    answer = await node.http.get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if not sample.labels
    }
    assert samples["galaxy_devices_connected"] == 1
    assert samples["galaxy_constellations_open"] == 1
    assert samples["galaxy_leases"] == 1
    assert samples["galaxy_dispatch_to_report_seconds_count"] == 1
    assert samples["galaxy_ready_to_dispatch_seconds_count"] == 2
    assert TOKEN not in answer.text
