"""Open questions: look at one as a planner sees it, and answer it, for planners that are elsewhere."""

from contextlib import suppress

import msgspec
from fastapi import APIRouter, Response

from ..core.constellation import Constellation
from ..core.edit import Edit
from ..core.errors import StaleConsult
from ..core.events import ConstellationEdited, ConstellationEvent, GoalGivenUp, GoalReached
from ..core.goal import Done, GiveUp
from ..planner.view import view_of
from ..views import pictures
from . import schemas, shown
from .constellations import brief
from .errors import READING, WRITING, problems
from .idempotency import OnceOnly, Replayed
from .parts import Node
from .translate import answer_of

router = APIRouter(prefix="/v1/constellations/{constellation_id}/consults", tags=["consults"], responses=READING)

BY = "planner:external"


@router.get("/{number}", response_model=shown.ConsultOut, responses=problems(409))
async def look(node: Node, constellation_id: str, number: int) -> Response:
    """Return an open question with all that its planner is shown."""
    found = await node.open_constellation(constellation_id)
    consult = found.dialogue.consult
    if consult is None or consult.number != number:
        raise StaleConsult(constellation_id, number)
    view = view_of(node.runner.core, found, consult)
    out = {**pictures.question(consult), "view": view}
    encoded = msgspec.json.encode(out)
    await node.durable()
    return Response(encoded, media_type="application/json")


@router.post("/{number}/answer", response_model=shown.ConstellationBriefOut, responses=WRITING)
async def reply(node: Node, once: OnceOnly, constellation_id: str, number: int, body: schemas.AnswerIn) -> Response:
    """Answer an open question: with an edit, with `done`, or with `give_up`."""
    with suppress(Replayed):
        async with once.answering():
            found = await node.open_constellation(constellation_id)
            await node.tell(_answered(node.now(), found, number, body), once.answered(None))
    return await brief(node, constellation_id)


def _answered(at: float, found: Constellation, number: int, body: schemas.AnswerIn) -> ConstellationEvent:
    match answer_of(body):
        case Edit() as edit:
            return ConstellationEdited(
                at=at,
                constellation=found.id,
                base=body.base or found.revision,
                edit=edit,
                by=BY,
                consult=number,
                rebase=True,
            )
        case Done(answer=said, despite=despite, reason=reason):
            return GoalReached(
                at=at, constellation=found.id, consult=number, answer=said, despite=despite, reason=reason, by=BY
            )
        case GiveUp(reason=reason):
            return GoalGivenUp(at=at, constellation=found.id, consult=number, reason=reason, by=BY)
