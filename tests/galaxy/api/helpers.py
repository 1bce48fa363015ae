"""A node in this process, with a store that can be made to fail and a clock that can be moved.

What runs besides the test is started here: the runner, and the node's end of each device's socket.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import httpx2
from fastapi import FastAPI

from galaxy import access
from galaxy.api.app import build
from galaxy.api.gate import Rules
from galaxy.api.parts import Parts
from galaxy.artifacts import Artifacts
from galaxy.core.constellation import Constellation
from galaxy.core.orchestrator import Orchestrator
from galaxy.gateway import Gateway
from galaxy.metrics import Metrics
from galaxy.runner import Runner
from galaxy.store.contract import Answered, ArtifactRow, Batch, Row, Summary
from galaxy.store.errors import StoreUnavailable
from galaxy.store.memory import MemoryStore

TOKEN = "the-token-of-this-test"
GALAXY_ID = "g1"
URL = "http://localhost:8421"
WITHIN_S = 5.0
SOON_S = 0.05  # for what shall not happen to happen

T = TypeVar("T")


class Clock:
    """Runs from 1,000 on, and jumps when a test says so."""

    def __init__(self) -> None:
        self._ahead = 1_000.0 - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def jump(self, seconds: float) -> None:
        self._ahead += seconds


class TroubledStore(MemoryStore):
    """A memory store that fails while it has `trouble`, and whose commits wait while it is `shut`."""

    def __init__(self) -> None:
        super().__init__()
        self.trouble = ""
        self.reads_fail = True  # with it; a full disk can still be read
        self.batches: list[Batch] = []
        self.tries: asyncio.Queue[Batch] = asyncio.Queue()
        self._open = asyncio.Event()
        self._open.set()

    def shut(self) -> None:
        """Let no commit come to its end until `open`."""
        self._open.clear()
        self.tries = asyncio.Queue()

    def open(self) -> None:
        self._open.set()

    def rows(self, stream: str | None = None) -> list[Row]:
        return [row for batch in self.batches for row in batch.rows if stream in (None, row.stream)]

    def kinds(self, stream: str) -> list[str]:
        return [row.kind for row in self.rows(stream)]

    async def append(self, batch: Batch) -> None:
        self.tries.put_nowait(batch)
        await self._open.wait()
        if self.trouble:
            raise StoreUnavailable(self.trouble)
        await super().append(batch)
        self.batches.append(batch)

    async def events(self, stream: str, after: int, limit: int) -> list[Row]:
        self._require_no_trouble()
        return await super().events(stream, after, limit)

    async def summary(self, id: str) -> Summary | None:
        self._require_no_trouble()
        return await super().summary(id)

    async def summaries(self, *, state: str | None, before: tuple[float, str] | None, limit: int) -> list[Summary]:
        self._require_no_trouble()
        return await super().summaries(state=state, before=before, limit=limit)

    async def answered(self, key: str) -> Answered | None:
        self._require_no_trouble()
        return await super().answered(key)

    async def forget_ended(self, before: float, at: float, limit: int) -> list[str]:
        self._require_no_trouble()
        return await super().forget_ended(before, at, limit)

    async def artifact(self, sha256: str) -> ArtifactRow | None:
        self._require_no_trouble()
        return await super().artifact(sha256)

    def _require_no_trouble(self) -> None:
        if self.trouble and self.reads_fail:
            raise StoreUnavailable(self.trouble)


@dataclass
class Node:
    """One node, and a client of its API that has the token."""

    store: TroubledStore
    clock: Clock
    core: Orchestrator
    runner: Runner
    gateway: Gateway
    parts: Parts
    app: FastAPI
    http: httpx2.AsyncClient
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let something happen beside the test."""
        task = asyncio.create_task(work)
        self.tasks.append(task)
        return task

    async def submit(self, *stars: Any, lines: Any = (), **more: Any) -> str:
        """Submit a constellation and return its id; a star is a body, or an id with the tool `work`."""
        bodies = [star(one) if isinstance(one, str) else one for one in stars]
        body = {"name": "c", "stars": bodies, "lines": [line(*one.split(" -> ")) for one in lines], **more}
        answer = await self.http.post("/v1/constellations", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def constellation(self, constellation_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/constellations/{constellation_id}")
        assert answer.status_code == 200, answer.text
        picture: dict[str, Any] = answer.json()
        return picture

    async def states(self, constellation_id: str) -> dict[str, str]:
        return {star["id"]: star["state"] for star in (await self.constellation(constellation_id))["stars"]}

    def reports(self, constellation_id: str) -> list[str]:
        """Return what became of devices' reports, in order."""
        kinds = self.store.kinds(constellation_id)
        return [kind for kind in kinds if kind in ("star_reported", "report_refused")]

    def open(self, constellation_id: str) -> Constellation:
        return self.core.constellations[constellation_id]


def star(star_id: str, tool: str = "work", **more: Any) -> dict[str, Any]:
    return {"id": star_id, "tool": tool, **more}


def line(source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"source": source, "target": target, **more}


@asynccontextmanager
async def a_node(folder: Path, store: TroubledStore | None = None) -> AsyncIterator[Node]:
    """Lend a node; what it started is ended afterwards, and what broke in it is raised."""
    store, clock, core, metrics = store or TroubledStore(), Clock(), Orchestrator(), Metrics()
    runner = Runner(core, store, clock, metrics)
    gateway = Gateway(runner, GALAXY_ID, clock, metrics, chance=Random(1))
    parts = Parts(runner, store, gateway, Artifacts(folder / "artifacts", store), metrics, GALAXY_ID, clock)
    app = build(parts, Rules(access.digest(TOKEN), frozenset({"galaxy.example"}), gateway.artifact_device))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url=URL, headers=headers, timeout=None) as http:
        node = Node(store, clock, core, runner, gateway, parts, app, http)
        node.start(runner.run())
        node.start(gateway.pulse.run())
        try:
            yield node
        finally:
            broken = [task.exception() for task in node.tasks if task.done() and not task.cancelled()]
            for task in node.tasks:
                task.cancel()
            await asyncio.wait(node.tasks)
            for exc in filter(None, broken):
                raise exc


async def waits(task: asyncio.Task[Any]) -> bool:
    """Return whether the task has not come to its end, though it had the time."""
    done, _ = await asyncio.wait({task}, timeout=SOON_S)
    return not done
