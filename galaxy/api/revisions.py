"""The history of a constellation: its revisions, what each changed; take one back, go on from one, try another planner.

All of it is read from the log, page by page, whether the constellation is open or has ended.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from ..core.constellation import Constellation
from ..core.errors import InvalidEdit
from ..core.events import FLEET, ConstellationEdited, ConstellationEvent, ConstellationSubmitted
from ..core.goal import REPAIR
from ..journal import event_of
from ..planner.backtest import backtested
from ..planner.contract import Planner
from ..planner.repair import Repair
from ..store.contract import Row
from ..views.revisions import (
    TOLD_BY,
    MakesRevision,
    Revisions,
    continued,
    difference,
    draft_of,
    is_revision,
    taken_back,
)
from . import schemas_history as schemas
from .constellations import BY, new_id
from .errors import READING, WRITING, Problem
from .idempotency import OnceOnly
from .parts import Node, Parts, answer

router = APIRouter(prefix="/v1/constellations", tags=["history"], responses=READING)

PAGE_MAX = 1_000
ROWS_READ = 500  # at a time: others get their turn between two readings

Number = Annotated[int, Path(ge=1, le=schemas.REVISIONS_MAX)]


@router.get("/{constellation_id}/revisions", response_model=schemas.RevisionsOut)
async def revisions(
    node: Node,
    constellation_id: str,
    after: Annotated[int, Query(ge=0, le=schemas.REVISIONS_MAX)] = 0,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 200,
) -> Response:
    """Return each revision: who made it, why, to which question of the core, and what that has cost."""
    found = Revisions()
    async for row in _log(node, constellation_id):
        if row.kind in TOLD_BY:
            found.hear(event_of(row))
    items = found.listed(after, limit)
    return answer({"items": items, "next": after + limit if after + limit < len(found.made) else None})


@router.get("/{constellation_id}/revisions/{number}/diff", response_model=schemas.DiffOut)
async def diff(node: Node, constellation_id: str, number: Number) -> Response:
    """Return what the revision changed: stars and lines field by field, and what was retried, skipped, superseded."""
    before, event = await _before(node, constellation_id, number)
    reason = event.edit.reason if isinstance(event, ConstellationEdited) else ""
    changed = difference(before, draft_of(before, event), reason)
    return answer({"id": constellation_id, "revision": number, **changed})


@router.post("/{constellation_id}:undo", response_model=schemas.UndoneOut, responses=WRITING)
async def undo(node: Node, once: OnceOnly, constellation_id: str, body: schemas.UndoIn | None = None) -> Response:
    """Take a revision back, if what it changed has not been changed, started or ended since."""
    wanted = body or schemas.UndoIn()
    async with once.answering():
        found = await node.open_constellation(constellation_id)
        number = wanted.revision or found.revision
        edit = taken_back(*await _before(node, constellation_id, number), number, wanted.reason)
        event = ConstellationEdited(
            at=node.now(), constellation=constellation_id, base=number, edit=edit, by=BY, rebase=True
        )
        out: dict[str, Any] = {"id": constellation_id, "undone": number}
        try:
            await node.tell(event, once.revised(out, found))
        except InvalidEdit as exc:  # nothing of it stands in what was sent
            raise Problem(409, "conflict", f"revision {number} cannot be taken back any more: {exc}") from exc
    return answer(out)


@router.post(
    "/{constellation_id}:fork",
    status_code=201,
    response_model=schemas.ForkedOut,
    responses={200: {"model": schemas.ForkedOut}, **WRITING},
)
async def fork(node: Node, once: OnceOnly, constellation_id: str, body: schemas.ForkIn | None = None) -> Response:
    """Go on from a revision, or from a star, in another constellation; what need not be done anew keeps its result."""
    wanted = body or schemas.ForkIn()
    async with once.answering():
        then = await _as_of(node, constellation_id, wanted.revision) if wanted.revision else None
        await node.durable()  # what is taken over is recorded
        now = await node.constellation(constellation_id)
        origin = f"{constellation_id}@{wanted.revision or now.revision}"
        graph = continued(then or now, now, wanted.star or "")
        name = now.name if wanted.name is None else wanted.name
        event = ConstellationSubmitted(
            at=node.now(),
            constellation=new_id(name),
            name=name,
            stars=graph.stars,
            lines=graph.lines,
            by=BY,
            goal=now.goal,
            planning=now.planning,
            grant=now.grant,
            kept=graph.kept,
            origin=origin,
        )
        out = {"id": event.constellation, "name": name, "state": "running", "revision": 1}
        out |= {"stars": len(graph.stars), "kept": len(graph.kept), "origin": origin}
        await node.tell(event, once.answered(out))
    return answer(out, 201, {"Location": f"/v1/constellations/{event.constellation}"})


@router.post("/{constellation_id}:backtest", response_model=schemas.BacktestOut, responses=WRITING)
async def backtest(node: Node, constellation_id: str, body: schemas.BacktestIn) -> Response:
    """Put the recorded questions to another planner, and compare. No device hears of it and nothing is recorded."""
    planners: Mapping[str, Planner] = {REPAIR: Repair(), **node.planners}
    if body.planner not in planners:
        text = f"there is no planner {body.planner!r} here to be asked; there is {', '.join(sorted(planners))}"
        raise Problem(422, "invalid-request", text, place="/planner")
    log = (_event(row) async for row in _log(node, constellation_id))
    fleet = (event_of(row) async for row in _fleet_rows(node))
    return answer(await backtested((body.planner, planners[body.planner]), body.when, log, fleet))


async def _log(node: Parts, constellation_id: str) -> AsyncIterator[Row]:
    """Yield all that is recorded of a constellation, and all that was shown of it before; raise Problem."""
    await node.require_known(constellation_id)
    await node.durable()
    async for row in _rows(node, constellation_id):
        yield row


async def _rows(node: Parts, stream: str) -> AsyncIterator[Row]:
    after = 0
    while page := await node.store.events(stream, after, ROWS_READ):
        for row in page:
            yield row
        after = page[-1].seq


async def _fleet_rows(node: Parts) -> AsyncIterator[Row]:
    """Yield the fleet's log, or nothing once its beginning was let go: what is left of it tells of no devices."""
    first = await node.store.events(FLEET, 0, 1)
    if first and first[0].seq == 1:
        async for row in _rows(node, FLEET):
            yield row


async def _before(node: Parts, constellation_id: str, number: int) -> tuple[Constellation, MakesRevision]:
    """Return the constellation as it was before a revision, and the event that made it; raise Problem."""
    then = Constellation(constellation_id)
    async for row in _log(node, constellation_id):
        event = _event(row)
        if then.revision == number - 1 and is_revision(event):
            return then, event
        then.apply(event)
    raise Problem(404, "unknown-id", f"{constellation_id} has no revision {number}; its last is {then.revision}")


async def _as_of(node: Parts, constellation_id: str, number: int) -> Constellation:
    """Return the constellation as the revision left it; raise Problem."""
    then, event = await _before(node, constellation_id, number)
    then.apply(event)
    return then


def _event(row: Row) -> ConstellationEvent:
    event = event_of(row)
    assert isinstance(event, ConstellationEvent)
    return event
