"""How soon a real galaxy is itself again: after a kill of its node, a cut or half-open link, a storm of devices."""

import asyncio
import base64
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client.parser import text_string_to_metric_families

from device_agents.reconnect import FIRST_S
from galaxy.cli.local import LocalGalaxy, local_galaxy
from galaxy.core.events import FLEET, DeviceJoined, Event, JoinTokenMinted
from galaxy.journal import row_of
from galaxy.store import open_store
from galaxy.store.contract import Batch

from .cluster.processes import cluster, until
from .cluster.proxy import DOWN, UP
from .crowd import TOOL, name_of

HEARTBEAT_S = 1.0
CUTS = 15
OPEN_STARS = 1_000
SESSIONS = 5_000
CROWDS = 2  # processes
PAGE = 1_000
CONNECT_WITHIN_S = 120.0
LOST_AFTER_S = 60.0

FIGURE = ("what", "measured", "unit", "target", "met")
Figure = dict[str, Any]


def figures(folder: Path, sessions: int, tell: Callable[[Figure], None]) -> list[Figure]:
    """Return what was measured, each with its target and whether it was met."""
    found = []
    for measured in (_node_killed, _link_cut, _half_open, partial(_storm, sessions=sessions)):
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as own:
            figure = measured(Path(own))
        found.append(figure)
        tell(figure)
    return found


def _figure(what: str, measured: float, unit: str, target: float, **more: Any) -> Figure:
    return {
        "what": what,
        "measured": round(measured, 2),
        "unit": unit,
        "target": target,
        "met": measured < target,
        **more,
    }


def _node_killed(folder: Path) -> Figure:
    """Kill the node with a thousand open stars, start it at once, and look when the next star is dispatched."""
    with local_galaxy(folder, serve=["--durability", "process", "--log-level", "warning"]) as galaxy:
        for number in range(5):
            galaxy.add_agent(f"d{number}", "--slots", "8", "--log-level", "warning", guard="[programs.sleep]\n")
        galaxy.wait_for_agents()
        stars = [
            {"id": f"s{n}", "tool": "shell.run", "arguments": {"argv": ["sleep", "0.2"]}, "effects": "idempotent"}
            for n in range(OPEN_STARS + 100)
        ]
        name = galaxy.request("POST", "/v1/constellations", json={"name": "open", "stars": stars}).json()["id"]
        galaxy.wait_until(lambda: _metric(galaxy, "galaxy_leases") >= 40, "all slots are taken")
        galaxy.node.kill()
        killed_at = time.time()
        galaxy.start_node()
        events: list[dict[str, Any]] = []
        galaxy.wait_until(lambda: _leased_since(galaxy, name, killed_at, events), "a star is dispatched")
        open_stars = len(stars) - sum(event["kind"] == "star_reported" for event in events)
        took_s = next(e["at"] for e in events if e["kind"] == "star_leased" and e["at"] > killed_at) - killed_at
    what = "kill -9 of the node, to the first dispatch after it"
    return _figure(what, took_s, "s", 2.0, open_stars=open_stars)


def _leased_since(galaxy: LocalGalaxy, name: str, since: float, events: list[dict[str, Any]]) -> bool:
    params = {"after": events[-1]["seq"] if events else 0, "limit": PAGE}
    events += galaxy.request("GET", f"/v1/constellations/{name}/events", params=params).json()["items"]
    return any(event["kind"] == "star_leased" and event["at"] > since for event in events)


def _link_cut(folder: Path) -> Figure:
    """Reset a device's connection, again and again, and look when it is connected again."""
    return asyncio.run(_cuts(folder))


async def _cuts(folder: Path) -> Figure:
    took: list[float] = []
    async with cluster(folder, ["ada"], heartbeat_s=HEARTBEAT_S, guard="") as lent:
        device = lent.devices["ada"]
        for _ in range(CUTS):
            await asyncio.sleep(1.2)  # so long a link must last to end the back-off
            sessions, began = device.proxy.sessions, time.monotonic()
            device.proxy.reset()
            await until(lambda: device.proxy.sessions > sessions, "ada has dialled")  # noqa: B023
            await until(partial(lent.is_connected, "ada"), "ada is connected")
            took.append(time.monotonic() - began)
    backoff_s = 2 * FIRST_S  # at most, after the first cut
    what = f"a cut link, to connected again, less a back-off of at most {backoff_s:g} s"
    return _figure(what, max(took) - backoff_s, "s", 1.0, cuts=CUTS, median=round(statistics.median(took), 2))


def _half_open(folder: Path) -> Figure:
    """Let a link swallow everything, and look when each side has noticed."""
    return asyncio.run(_noticed(folder))


async def _noticed(folder: Path) -> Figure:
    device_s, node_s = [], []
    async with cluster(folder, ["ada"], heartbeat_s=HEARTBEAT_S, guard="") as lent:
        device = lent.devices["ada"]
        for _ in range(5):
            await until(partial(lent.is_connected, "ada"), "ada is connected")
            await asyncio.sleep(2 * HEARTBEAT_S)
            sessions, began = device.proxy.sessions, time.monotonic()
            device.proxy.refuse, device.proxy.refused = True, 0
            device.proxy.swallow(UP, DOWN)
            await until(lambda: device.proxy.refused > 0, "ada has noticed")
            device_s.append(time.monotonic() - began)
            await until(partial(lent.is_gone, "ada"), "the node has noticed")
            node_s.append(time.monotonic() - began)
            device.proxy.refuse = False
            await until(lambda: device.proxy.sessions > sessions, "ada has dialled")  # noqa: B023
    worst = max(*device_s, *node_s) / HEARTBEAT_S
    sides = {"device": round(statistics.median(device_s), 2), "node": round(statistics.median(node_s), 2)}
    return _figure("a half-open link, until both sides have noticed", worst, "heartbeats", 3.0, medians_s=sides)


def _storm(folder: Path, *, sessions: int) -> Figure:
    """Let thousands of devices, each with a lease, lose their links at once, and count leases that are lost."""
    _let_files_be_opened(2 * sessions)
    key = Ed25519PrivateKey.generate()
    (folder / "node").mkdir(mode=0o700)
    asyncio.run(_joined(folder / "node", sessions, key))
    serve = ["--durability", "process", "--log-level", "warning"]
    with local_galaxy(folder, serve=serve) as galaxy, _crowds(galaxy, sessions, key) as crowds:
        connected = partial(_metric, galaxy, "galaxy_devices_connected")
        galaxy.wait_until(lambda: connected() >= sessions, "all are connected", CONNECT_WITHIN_S)
        disconnect = {"lost_after_s": LOST_AFTER_S, "stop_after_s": LOST_AFTER_S}
        stars = [{"id": f"s{n}", "tool": TOOL, "disconnect": disconnect} for n in range(sessions)]
        name = galaxy.request("POST", "/v1/constellations", json={"name": "held", "stars": stars}).json()["id"]
        accepted = partial(_accepted, galaxy, name)
        galaxy.wait_until(lambda: accepted() >= sessions, "all have accepted", CONNECT_WITHIN_S)
        began = time.monotonic()
        for crowd in crowds:
            assert crowd.stdin
            crowd.stdin.write(b"cut\n")
            crowd.stdin.flush()
        galaxy.wait_until(lambda: connected() < sessions / 2, "they are missed")
        galaxy.wait_until(lambda: connected() >= sessions, "all are connected again", CONNECT_WITHIN_S)
        took_s = time.monotonic() - began
        lost = sum(event["kind"] == "lease_ended" for event in _events(galaxy, name))
    what = f"{sessions} sessions cut at once, to the last one's return"
    return _figure(what, took_s, "s", LOST_AFTER_S, leases_lost=lost) | {"met": not lost and took_s < LOST_AFTER_S}


def _events(galaxy: LocalGalaxy, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        params = {"after": found[-1]["seq"] if found else 0, "limit": PAGE}
        page = galaxy.request("GET", f"/v1/constellations/{name}/events", params=params).json()["items"]
        if not page:
            return found
        found += page


def _accepted(galaxy: LocalGalaxy, name: str) -> int:
    time.sleep(0.5)
    return sum(event["kind"] == "star_accepted" for event in _events(galaxy, name))


def _metric(galaxy: LocalGalaxy, name: str) -> float:
    text = galaxy.request("GET", "/metrics").text
    return sum(s.value for f in text_string_to_metric_families(text) for s in f.samples if s.name == name)


async def _joined(folder: Path, sessions: int, key: Ed25519PrivateKey) -> None:
    """Let so many devices have joined before the node first starts; one key does for all of them."""
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    at = time.time()
    events: list[Event] = []
    for name in map(name_of, range(sessions)):
        events.append(JoinTokenMinted(at=at, digest=name, expires_at=at + 60.0))
        events.append(DeviceJoined(at=at, device=name, public_key=public, token_digest=name))
    store = await open_store(folder, "process")
    try:
        await store.append(Batch([row_of(event, FLEET, seq) for seq, event in enumerate(events, 1)]))
    finally:
        await store.close()


@contextmanager
def _crowds(galaxy: LocalGalaxy, sessions: int, key: Ed25519PrivateKey) -> Iterator[list[subprocess.Popen[bytes]]]:
    url = galaxy.url.replace("http", "ws", 1) + "/v1/agent"
    share = -(-sessions // CROWDS)
    started = []
    try:
        for n in range(CROWDS):
            span = [str(n * share), str(min(sessions, (n + 1) * share))]
            words = [sys.executable, "-m", "nebulabench.crowd", url, key.private_bytes_raw().hex(), *span]
            started.append(subprocess.Popen(words, stdin=subprocess.PIPE))  # noqa: S603  # our own program
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait(10.0)


def _let_files_be_opened(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, wanted)), hard))
