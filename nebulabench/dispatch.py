"""How fast stars go through a real node and real agents with a tool that does nothing, durable on disk."""

import math
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from galaxy.cli.local import LocalGalaxy, local_galaxy

from .graphs import Shape, bodies

SLOTS = 64
END_WITHIN_S = 300.0
PAGE = 1_000


def measured(shape: Shape, stars: int, devices: int, durability: str, *, database: str = "") -> dict[str, Any]:
    """Return what one run took: stars a second, hops, memory, and where the time went."""
    facts = {"graph": shape, "stars": stars, "devices": devices, "durability": durability}
    with (
        tempfile.TemporaryDirectory(prefix="nebulabench-") as folder,
        bench(Path(folder), devices=devices, durability=durability, database=database) as galaxy,
    ):
        return {**facts, **one_run(galaxy, shape, stars)}


@contextmanager
def bench(folder: Path, *, devices: int, durability: str, database: str = "") -> Iterator[LocalGalaxy]:
    """Lend a galaxy of real processes that is warm: imports and first allocations are not measured."""
    serve = ["--durability", durability, "--log-level", "warning"]
    with local_galaxy(folder, serve=serve, database=database) as galaxy:
        for number in range(devices):
            galaxy.add_agent(f"d{number}", "--slots", str(SLOTS), "--log-level", "warning")
        galaxy.wait_for_agents()
        _warm_up(galaxy)
        yield galaxy


def _warm_up(galaxy: LocalGalaxy) -> None:
    [body] = bodies(Shape.LAYERED, 500)
    _ended(galaxy, [_submit(galaxy, body)])


def one_run(galaxy: LocalGalaxy, shape: Shape, stars: int) -> dict[str, Any]:
    """Return what one run on a warm galaxy took."""
    sent = [msgspec.json.encode(body) for body in bodies(shape, stars)]
    before, cpu_before = _counters(galaxy), _cpu_s(galaxy)
    with _all_at_once(galaxy, len(sent)) as released:
        ids = [_submit_bytes(galaxy, body) for body in sent]
    _ended(galaxy, ids)
    after, cpu_after = _counters(galaxy), _cpu_s(galaxy)
    first, last, hops = _times(galaxy, shape, ids)
    first = max(first, *released)
    total = stars
    waits = sorted(wait for times in hops.values() for wait in times)
    return {
        "stars_per_s": round(stars / (last - first), 1),
        "wall_s": round(last - first, 4),
        "hop_p50_ms": _quantile_ms(waits, 0.5),
        "hop_p99_ms": _quantile_ms(waits, 0.99),
        "rss_mb": round(_rss_mb(galaxy), 1),
        "stages_us_per_star": {
            name: round(1e6 * (after[name] - before.get(name, 0.0)) / total, 2) for name in sorted(after)
        },
        "cpu_us_per_star": {
            name: round(1e6 * (cpu_after[name] - cpu_before[name]) / total, 1) for name in sorted(cpu_after)
        },
    }


@contextmanager
def _all_at_once(galaxy: LocalGalaxy, constellations: int) -> Iterator[list[float]]:
    """Hold the agents while many constellations are submitted; then let all go, and note when.

    Else it would be the speed of submitting that is measured. Held agents keep their sessions for three heartbeats.
    """
    released = [0.0, 0.0]
    agents = [agent.process for agent in galaxy.agents.values() if agent.process]
    if constellations == 1:
        yield released
        return
    for agent in agents:
        agent.send_signal(signal.SIGSTOP)
    try:
        yield released
    finally:
        released[0] = time.time()
        for agent in agents:
            agent.send_signal(signal.SIGCONT)


def _submit(galaxy: LocalGalaxy, body: dict[str, Any]) -> str:
    return _submit_bytes(galaxy, msgspec.json.encode(body))


def _submit_bytes(galaxy: LocalGalaxy, body: bytes) -> str:
    headers = {"Content-Type": "application/json"}
    return str(galaxy.request("POST", "/v1/constellations", content=body, headers=headers).json()["id"])


def _ended(galaxy: LocalGalaxy, ids: list[str]) -> None:
    """Return when all have ended; looking costs the node little, and seldom."""
    deadline = time.monotonic() + END_WITHIN_S
    while time.monotonic() < deadline:
        listed = galaxy.request("GET", "/v1/constellations", params={"limit": 1, "state": "running"}).json()
        if not listed["items"]:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{len(ids)} constellations did not end within {END_WITHIN_S:g} s")


def _times(galaxy: LocalGalaxy, shape: Shape, ids: list[str]) -> tuple[float, float, dict[str, list[float]]]:
    """Return the first lease, the last report, and the hops of each constellation, all by the node's clock.

    A hop is a star's time from its lease to the next star's lease in a chain, which holds a commit, both ways over the
    wire, and the agent; elsewhere, where stars overlap, from its lease to its report.
    """
    first, last, hops = math.inf, 0.0, {}
    for constellation in ids:
        leased: dict[str, float] = {}
        waits: list[float] = []
        for event in _events(galaxy, constellation):
            match event["kind"]:
                case "star_leased":
                    leased[event["star"]] = event["at"]
                    first = min(first, event["at"])
                case "star_reported":
                    waits.append(event["at"] - leased[event["star"]])
                    last = max(last, event["at"])
                case "constellation_ended" if event["state"] != "succeeded":
                    raise RuntimeError(f"{constellation} {event['state']}: {event['failures'][:1]}")
        if shape is Shape.CHAIN:
            waits = [later - earlier for earlier, later in pairwise(leased.values())]
        hops[constellation] = waits
    return first, last, hops


def _events(galaxy: LocalGalaxy, constellation: str) -> Any:
    after = 0
    while True:
        path = f"/v1/constellations/{constellation}/events"
        page = galaxy.request("GET", path, params={"after": after, "limit": PAGE}).json()
        if not page["items"]:
            return
        yield from page["items"]
        after = page["next"]


def _counters(galaxy: LocalGalaxy) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(galaxy.request("GET", "/metrics").text):
        for sample in family.samples:
            if sample.name == "galaxy_stage_seconds_total":
                found[sample.labels["stage"]] = sample.value
            elif sample.name == "galaxy_commit_seconds_sum":
                found["commit_wall"] = sample.value
    return found


def _cpu_s(galaxy: LocalGalaxy) -> dict[str, float]:
    agents = [agent.process.pid for agent in galaxy.agents.values() if agent.process]
    assert galaxy.node.process
    times = {"node": sum(psutil.Process(galaxy.node.process.pid).cpu_times()[:2])}
    times["agents"] = sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in agents)
    return times


def _rss_mb(galaxy: LocalGalaxy) -> float:
    assert galaxy.node.process
    return float(psutil.Process(galaxy.node.process.pid).memory_info().rss) / 2**20


def _quantile_ms(values: list[float], q: float) -> float:
    return round(1000 * values[min(len(values) - 1, int(q * len(values)))], 3)
