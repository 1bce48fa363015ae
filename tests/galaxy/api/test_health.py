"""Health, readiness and metrics, and what a node does while its store fails."""

from functools import partial

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
    since = ready.json().pop("since")
    assert 0 <= node.clock() - since < 5
    assert (ready.status_code, ready.json()) == (
        503,
        {"status": "unready", "detail": "the store: the disk is full", "since": since},
    )
    assert late.headers["Retry-After"] == "1"
    for answer in refused:
        problem(answer, 503, "store-unavailable")
        assert answer.headers["Retry-After"] == "5"

    node.store.trouble = ""
    assert (await calling).attempt == f"{next(iter(node.core.constellations))}/a#1"
    assert (await node.http.get("/readyz")).status_code == 200
    (constellation,) = node.core.constellations
    assert node.store.kinds(constellation) == ["constellation_submitted", "star_leased"]


@pytest.mark.usefixtures("impatient")
async def test_a_request_that_outlived_its_answer_may_be_sent_again_and_is_done_once(node: Node):
    node.store.trouble = "the disk is full"
    node.store.reads_fail = False
    body, key = {"stars": [star("a")]}, {"Idempotency-Key": "k1"}
    problem(await node.http.post("/v1/constellations", json=body, headers=key), 503, "busy")
    again = await node.http.post("/v1/constellations", json=body, headers=key)
    problem(again, 409, "in-progress")
    assert again.headers["Retry-After"] == "1"

    node.store.trouble = ""
    await node.runner.durable()
    replayed = await node.http.post("/v1/constellations", json=body, headers=key)

    assert (replayed.status_code, replayed.headers["Idempotent-Replayed"]) == (200, "true")
    assert list(node.core.constellations) == [replayed.json()["id"]]


@pytest.mark.usefixtures("impatient")
async def test_what_is_recorded_can_be_read_while_nothing_can_be_written(node: Node):
    known = await node.submit("a")
    node.store.trouble, node.store.reads_fail = "the disk is full", False
    problem(await node.http.post("/v1/constellations", json={"stars": [star("b")]}), 503, "busy")
    (fresh,) = node.core.constellations.keys() - {known}

    for path in (f"{known}", f"{known}/stars/a", f"{known}/events", ""):
        assert (await node.http.get(f"/v1/constellations/{path}".rstrip("/"))).status_code == 200
    problem(await node.http.get(f"/v1/constellations/{fresh}"), 503, "store-unavailable")


async def test_a_commit_that_nobody_answers_makes_the_node_unready_before_it_has_failed(node: Node):
    node.store.shut()
    node.start(node.http.post("/v1/constellations", json={"stars": [star("a")]}))
    await node.store.tries.get()
    assert (await node.http.get("/readyz")).status_code == 200
    node.clock.jump(7.0)
    unready = await node.http.get("/readyz")
    measured = (await node.http.get("/metrics")).text
    node.store.open()
    await node.runner.durable()

    assert unready.status_code == 503
    assert unready.json()["detail"] == "the store: a commit has not been answered for 7 s"
    assert "galaxy_store_trouble_seconds 7." in measured
    assert (await node.http.get("/readyz")).status_code == 200
    assert "galaxy_store_trouble_seconds 0.0" in (await node.http.get("/metrics")).text


async def test_when_too_much_waits_more_is_refused_and_not_kept(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "BATCH_ROWS_MAX", 1)
    monkeypatch.setattr(runner, "INBOX_MAX", 2)
    node.store.shut()
    for _ in range(4):
        assert await waits(node.start(node.http.post("/v1/constellations", json={"stars": [star("a")]})))

    refused = await node.http.post("/v1/constellations", json={"stars": [star("a")]})
    waiting = node.runner.waiting
    node.store.open()
    await node.runner.durable()

    problem(refused, 503, "busy")
    assert (refused.headers["Retry-After"], waiting, len(node.core.constellations)) == ("1", 2, 4)


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


async def test_tellers_who_add_nothing_are_not_heard_without_end_while_the_store_is_gone(
    node: Node, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "BATCH_TELLERS_MAX", 2)
    node.store.shut()
    submitting = node.start(node.http.post("/v1/constellations", json={"stars": [star("a")]}))
    await node.store.tries.get()
    said: list[int] = []
    for number in range(9):
        node.runner.when_durable(partial(said.append, number))
    assert await waits(submitting)

    assert (node.runner.waiting, said) == (7, [])
    node.store.open()
    await node.runner.durable()
    assert said == list(range(9))
