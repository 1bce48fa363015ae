"""What the endpoints need of the node, in one value."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

import msgspec
from fastapi import Depends, Request, Response

from protocol.vocabulary import NAME

from ..artifacts import Artifacts
from ..core.constellation import Constellation
from ..core.events import Event
from ..gateway import Gateway
from ..journal import constellation_of
from ..metrics import Metrics
from ..planner.contract import Planner
from ..runner import Answering, Runner
from ..store.contract import Recovered, Row, Store
from ..store.errors import StoreUnavailable
from ..upkeep import Keep, Upkeep
from .agent_model import AgentLlm, Lent
from .errors import RETRY_SOON, Problem

ANSWER_WITHIN_S = 10.0  # a commit takes milliseconds; a store that is gone may take for ever
PAGE_ROWS = 5_000
ENDED_KEPT = 8  # ended constellations that are kept as they were last read


@dataclass(slots=True)
class Parts:
    """The node as the API sees it."""

    runner: Runner
    store: Store
    gateway: Gateway
    artifacts: Artifacts
    metrics: Metrics
    galaxy_id: str
    now: Callable[[], float]
    planners: Mapping[str, Planner] = field(default_factory=dict)
    llm: AgentLlm | None = None  # the model that devices are lent
    lent: Lent = field(default_factory=Lent)
    began_at: float = field(init=False)
    upkeep: Upkeep = field(init=False)
    is_stopping: bool = False
    answering: set[str] = field(default_factory=set)  # Idempotency-Keys of requests that are being answered
    ended: OrderedDict[str, Constellation] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self.began_at = self.now()
        self.upkeep = Upkeep(self.store, self.artifacts, Keep(), self.now, self._drop)

    async def tell(self, event: Event, answered: Answering = None) -> None:
        """Return once the event is durable; raise Refused, StoreUnavailable, or TimeoutError: it may come to be yet."""
        self._require_recording()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await self.runner.tell(event, answered)

    async def durable(self, stream: str = "") -> None:
        """Return once all that the core shows is safe to act on; raise StoreUnavailable or TimeoutError.

        While the store is in trouble, what is recorded can still be shown: a stream that nothing was added to.
        """
        if stream and (self.runner.store_trouble or self.runner.is_full) and self.runner.is_recorded(stream):
            return
        self._require_recording()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await self.runner.durable()

    async def require_known(self, constellation_id: str) -> None:
        """Raise Problem unless there is, or was, such a constellation."""
        if constellation_id in self.runner.core.constellations or constellation_id in self.ended:
            return
        # What is no name is nobody's, and not every database can be asked for it.
        if NAME.fullmatch(constellation_id):
            if await self.store.summary(constellation_id) is not None:
                return
            if await self.store.forgotten_at(constellation_id) is not None:
                raise Problem(410, "forgotten", f"{constellation_id} ended long ago and is no longer kept")
        raise Problem(404, "unknown-id", f"no constellation {constellation_id!r}")

    async def constellation(self, constellation_id: str) -> Constellation:
        """Return an open or an ended constellation; raise Problem."""
        if found := self.runner.core.constellations.get(constellation_id):
            return found
        if constellation_id in self.ended:
            self.ended.move_to_end(constellation_id)
            return self.ended[constellation_id]
        await self.require_known(constellation_id)
        rows = await self._all_rows(constellation_id)
        replayed = constellation_of(Recovered(constellation_id, None, 0, rows))
        if replayed.end is not None:  # else it ended a moment ago and that is being written: not to be kept
            self.ended[constellation_id] = replayed
            while len(self.ended) > ENDED_KEPT:
                self.ended.popitem(last=False)
        return replayed

    async def open_constellation(self, constellation_id: str) -> Constellation:
        """Return a constellation that may still change; raise Problem."""
        found = await self.constellation(constellation_id)
        if constellation_id not in self.runner.core.constellations:
            raise Problem(409, "ended", f"{constellation_id} has ended: {found.state}")
        return found

    def _drop(self, forgotten: list[str]) -> None:
        for constellation_id in forgotten:
            self.ended.pop(constellation_id, None)

    def _require_recording(self) -> None:
        if self.runner.store_trouble:
            raise StoreUnavailable(self.runner.store_trouble)
        if self.runner.is_full:  # its answer would come too late, and it would stay there all the same
            raise Problem(503, "busy", "more is waiting to be recorded than may", headers=RETRY_SOON)

    async def _all_rows(self, stream: str) -> list[Row]:
        rows: list[Row] = []
        while page := await self.store.events(stream, rows[-1].seq if rows else 0, PAGE_ROWS):
            rows += page
        return rows


def parts(request: Request) -> Parts:
    """Return the node's parts."""
    return cast(Parts, request.app.state.parts)


Node = Annotated[Parts, Depends(parts)]


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as JSON: it is encoded once, its raw results as they are."""
    return Response(msgspec.json.encode(value), status, headers, "application/json")
