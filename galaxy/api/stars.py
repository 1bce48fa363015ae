"""Stars: look at one, try it again, do without it."""

from fastapi import APIRouter, Response

from ..core.constellation import Constellation
from ..core.edit import AnyOperation, Edit, Retry, Skip
from ..core.events import ConstellationEdited
from ..core.regrow import regrown
from ..core.states import FAILED
from ..views import pictures, placement
from . import schemas, shown
from .constellations import BY
from .errors import READING, WRITING
from .idempotency import Once, OnceOnly
from .parts import Node, Parts, answer

router = APIRouter(prefix="/v1/constellations/{constellation_id}/stars/{star_id}", tags=["stars"], responses=READING)


@router.get("", response_model=shown.StarOut)
async def get_star(node: Node, constellation_id: str, star_id: str) -> Response:
    """Return one star with its attempts, where they were placed and why, and why it waits if it does."""
    found = await node.constellation(constellation_id)
    out = pictures.star(found, found.course(star_id), node.runner.core if found.end is None else None)
    await node.durable(constellation_id)
    return answer(out)


@router.get("/placement", response_model=shown.StarPlacementOut)
async def get_placement(node: Node, constellation_id: str, star_id: str) -> Response:
    """Return every device with the terms by which it is placed, or with why it cannot take the star."""
    found = await node.constellation(constellation_id)
    out = placement.placement(node.runner.core, found, found.course(star_id), node.now())
    await node.durable(constellation_id)
    return answer(out)


@router.post(":retry", response_model=shown.EditedOut, responses=WRITING)
async def retry(node: Node, once: OnceOnly, constellation_id: str, star_id: str) -> Response:
    """Try a star again: at once if it waits for that, and as a copy, with those skipped behind it, if it has failed."""
    async with once.answering():
        found = await node.open_constellation(constellation_id)
        operations = regrown(found, star_id) if found.course(star_id).state is FAILED else (Retry(star_id),)
        return await _edit(node, once, found, operations, f"retry of {star_id}")


@router.post(":skip", response_model=shown.EditedOut, responses=WRITING)
async def skip(
    node: Node, once: OnceOnly, constellation_id: str, star_id: str, body: schemas.ReasonIn | None = None
) -> Response:
    """Do without a star that has not started; those that needed its success are skipped too."""
    async with once.answering():
        found = await node.open_constellation(constellation_id)
        found.course(star_id)
        reason = (body.reason if body else "") or "skipped by a person"
        return await _edit(node, once, found, (Skip(star_id, reason),), reason)


async def _edit(
    node: Parts, once: Once, found: Constellation, operations: tuple[AnyOperation, ...], reason: str
) -> Response:
    event = ConstellationEdited(
        at=node.now(), constellation=found.id, base=found.revision, edit=Edit(operations, reason), by=BY
    )
    out = {"id": found.id, "revision": event.base + 1}
    await node.tell(event, once.answered(out))
    return answer(out)
