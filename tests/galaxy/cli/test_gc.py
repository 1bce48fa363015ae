"""`galaxy gc` and `galaxy check`, with a node that runs and on the files of one that does not."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner

from galaxy.cli.__main__ import app
from galaxy.cli.exits import REFUSED, UNSOUND
from galaxy.cli.local import DidNotStart, LocalGalaxy, local_galaxy
from galaxy.core.events import CancelRequested, ConstellationSubmitted
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.star import Star
from galaxy.metrics import Metrics
from galaxy.runner import Runner
from galaxy.store import open_store

PLENTY = "x" * 50_000


def galaxy(*words: object, **env: str) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], env=env)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stopped node's folder with two constellations that ended long ago, and one that goes on."""
    asyncio.run(lived(tmp_path))
    return tmp_path


async def lived(folder: Path, at: float = 1_000.0) -> None:
    store = await open_store(folder)
    runner = Runner(Orchestrator(), store, lambda: at, Metrics())
    running = asyncio.create_task(runner.run())
    for name in ("a", "b", "c"):
        star = Star("s", "work")
        await runner.tell(ConstellationSubmitted(at=at, constellation=name, name=PLENTY, stars=(star,)))
        if name != "c":
            await runner.tell(CancelRequested(at=at, constellation=name, reason="enough"))
    running.cancel()
    await asyncio.wait([running])
    await store.close()


def damage(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "galaxy.db")) as connection, connection:
        connection.execute(statement)


# gc


def test_old_things_go_from_the_files_of_a_stopped_node_and_the_file_is_smaller(folder: Path):
    size = (folder / "galaxy.db").stat().st_size
    ahead = galaxy("gc", "--data", folder, "--keep-ended-days", 30, "--dry-run")
    assert "constellations" in ahead.stdout
    assert (folder / "galaxy.db").stat().st_size == size

    gone = galaxy("gc", "--data", folder, "--keep-ended-days", 30, "--json")

    assert gone.exit_code == 0, gone.output
    found = {one["kind"]: one["amount"] for one in json.loads(gone.stdout)["items"]}
    assert (found["constellations"], found["events"]) == (2, 6)
    assert (folder / "galaxy.db").stat().st_size < size - 90_000
    left = galaxy("check", "--data", folder, "--json")
    assert (left.exit_code, json.loads(left.stdout)["streams"]) == (0, 1)


def test_without_a_wish_ended_constellations_stay_and_the_environment_may_wish(folder: Path):
    kept = galaxy("gc", "--data", folder)
    assert (kept.exit_code, "nothing" in kept.stdout) == (0, True)

    gone = galaxy("gc", "--data", folder, GALAXY_KEEP_ENDED_DAYS="30")
    assert "constellations" in gone.stdout


@pytest.fixture
def running(folder: Path) -> Iterator[LocalGalaxy]:
    (folder / "here").mkdir()
    (folder / "galaxy.db").rename(folder / "here" / "galaxy.db")
    (folder / "here").rename(folder / "node")
    with local_galaxy(folder, serve=["--keep-ended-days", "0"]) as local:
        yield local


def test_a_node_that_runs_is_asked_rather_than_its_file_touched(running: LocalGalaxy):
    words = ["gc", "--data", running.folder / "node", "--keep-ended-days", 30, "--json", "--url", running.url]
    gone = galaxy(*words, GALAXY_TOKEN=running.token)

    assert gone.exit_code == 0, gone.output
    assert f"its node is running: asking {running.url}" in gone.stderr
    found = {one["kind"]: one["amount"] for one in json.loads(gone.stdout)["items"]}
    assert (found["constellations"], found["events"]) == (2, 6)
    refused = galaxy("get", "a", "--url", running.url, GALAXY_TOKEN=running.token)
    assert (refused.exit_code, "no longer kept" in refused.stderr) == (REFUSED, True)
    assert galaxy("check", "--data", running.folder / "node").exit_code == REFUSED


@pytest.mark.parametrize("command", ["gc", "check"])
def test_a_folder_without_a_node_is_refused_and_left_alone(tmp_path: Path, command: str):
    refused = galaxy(command, "--data", tmp_path / "nowhere")

    assert (refused.exit_code, "holds no galaxy.db" in refused.stderr) == (REFUSED, True)
    assert not (tmp_path / "nowhere").exists()


# check


def test_a_sound_store_is_read_whole_and_found_so(folder: Path):
    found = galaxy("check", "--data", folder, "--json")

    assert found.exit_code == 0, found.output
    report = json.loads(found.stdout)
    assert (report["streams"], report["events"], report["findings"]) == (3, 7, [])


OF_NOBODY = '{"kind":"star_accepted","at":1,"constellation":"c","star":"z","attempt":1,"device":"d"}'
DAMAGES = {
    "DELETE FROM events WHERE stream = 'a' AND seq = 2": ("a", "event 2 is missing"),
    "DELETE FROM events WHERE stream = 'a'": ("a", "stands in the list, and has no events"),
    "UPDATE events SET body = x'7b' WHERE stream = 'a' AND seq = 2": ("a", "event 2 of a cannot be read"),
    f"UPDATE events SET body = CAST('{OF_NOBODY}' AS BLOB) WHERE stream = 'c'": ("c", "does not follow from"),  # noqa: S608
    "DELETE FROM constellations WHERE id = 'b'": ("b", "does not stand in the list"),
    "UPDATE constellations SET state = 'succeeded' WHERE id = 'b'": ("b", "the list says succeeded"),
    "INSERT INTO snapshots SELECT 'c', 9, body FROM events LIMIT 1": ("c", "events 2 to 9 are missing"),
    "INSERT INTO snapshots VALUES ('c', 1, x'7b')": ("c", "the snapshot of c cannot be read"),
}


@pytest.mark.parametrize("statement", DAMAGES)
def test_each_kind_of_damage_is_found_and_named(folder: Path, statement: str):
    where, what = DAMAGES[statement]
    damage(folder, statement)
    found = galaxy("check", "--data", folder, "--json")

    assert found.exit_code == UNSOUND, found.output
    findings = json.loads(found.stdout)["findings"]
    assert [one["where"] for one in findings] == [where]
    assert what in findings[0]["what"]
    assert what.split()[0] in galaxy("check", "--data", folder).stdout


# serve


STARTS = {
    "DELETE FROM events WHERE stream = 'c'": "c stands in the list and has no events",
    "UPDATE events SET seq = 2 WHERE stream = 'c'": "event 1 of c is missing",
    "UPDATE events SET body = x'7b' WHERE stream = 'c'": "event 1 of c cannot be read",
    "INSERT INTO snapshots VALUES ('c', 1, x'7b')": "the snapshot of c cannot be read",
    f"UPDATE events SET body = CAST('{OF_NOBODY}' AS BLOB) WHERE stream = 'c'": "does not follow from",  # noqa: S608
}


@pytest.mark.parametrize("statement", STARTS)
def test_a_node_does_not_start_on_a_log_that_does_not_add_up(folder: Path, statement: str):
    damage(folder, statement)
    before = rows_in(folder)
    refused = galaxy("serve", "--data", folder, "--port", 0)

    assert refused.exit_code == REFUSED, refused.output
    assert STARTS[statement] in refused.stderr
    assert "estore a copy" in refused.stderr
    assert rows_in(folder) == before


def rows_in(folder: Path) -> list[Any]:
    with closing(sqlite3.connect(folder / "galaxy.db")) as connection:
        return connection.execute("SELECT stream, seq, body FROM events ORDER BY 1, 2").fetchall()


def test_a_database_that_is_full_at_start_makes_a_node_that_lives_and_is_not_ready(tmp_path: Path):
    with local_galaxy(tmp_path) as local:
        local.node.stop()
        damage(tmp_path / "node", "CREATE TABLE other (a)")
        with closing(sqlite3.connect(tmp_path / "node" / "galaxy.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            local.node.start()
            local.wait_until(lambda: status_of(local, "/readyz") == 503, "it does not say that it is not ready")
            assert status_of(local, "/healthz") == 200
            other.execute("COMMIT")
        local.wait_until(lambda: status_of(local, "/readyz") == 200, "it does not go on")


def status_of(local: LocalGalaxy, path: str) -> int:
    try:
        local.request("GET", path)
    except httpx2.HTTPStatusError as exc:
        return exc.response.status_code
    except httpx2.TransportError:
        return 0
    return 200


def test_another_writer_ends_a_running_node_with_a_clear_word(tmp_path: Path):
    with local_galaxy(tmp_path) as local:
        damage(tmp_path / "node", "INSERT INTO events SELECT stream, seq + 1, kind, at, body FROM events WHERE seq = 1")
        with pytest.raises(DidNotStart, match="the node had to stop: event 2 of ~fleet is recorded already"):
            local.wait_until(lambda: minted(local), "it goes on")
        assert local.node.process
        assert local.node.process.wait(10) == REFUSED


def minted(local: LocalGalaxy) -> bool:
    status_of(local, "/healthz")
    try:
        local.request("POST", "/v1/join-tokens", timeout=1.0)
    except httpx2.HTTPError:
        return False
    return False
