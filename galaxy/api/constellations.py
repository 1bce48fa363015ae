"""Constellations: submit, list, look at, edit, cancel, pause and resume."""

import base64
import binascii
import re
import secrets
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Header, Query, Response

from protocol.vocabulary import NAME

from ..core.edit import Edit
from ..core.errors import InvalidEdit
from ..core.events import (
    CancelRequested,
    ConstellationEdited,
    ConstellationPaused,
    ConstellationResumed,
    ConstellationSubmitted,
)
from ..core.goal import REPAIR, Planning
from ..core.star import Line, Star
from ..core.states import ConstellationState
from ..planner.ladder import EXTERNAL, LLM
from ..views import analysis, pictures
from . import schemas, shown, words
from .dry_run import dry_run
from .errors import READING, WRITING, Problem
from .idempotency import OnceOnly, Replayed
from .parts import Node, Parts, answer
from .translate import goal_of, grant_of, line_of, operation_of, planning_of, star_of

router = APIRouter(prefix="/v1/constellations", tags=["constellations"], responses=READING)

PAGE_MAX = 200
BY = "api"
SLUG_CHARS_MAX = 40
ANALYSED_STARS_MAX = 5_000
REVISION = re.compile(r"[0-9]{1,18}")


@router.post(
    "",
    status_code=201,
    response_model=shown.SubmittedOut,
    responses={200: {"model": shown.SubmittedOut}, **WRITING},
)
async def submit(node: Node, once: OnceOnly, body: schemas.ConstellationIn) -> Response:
    """Record a constellation and let it run. Answered when it is durable."""
    stars, lines = _checked(body)
    async with once.answering():
        constellation_id = new_id(body.name)
        event = ConstellationSubmitted(
            at=node.now(),
            constellation=constellation_id,
            name=body.name,
            stars=stars,
            lines=lines,
            by=BY,
            goal=goal_of(body.goal) if body.goal else None,
            planning=_planning(node, body),
            grant=grant_of(body.constraints),
        )
        out = {"id": constellation_id, "name": body.name, "state": "running", "revision": 1, "stars": len(stars)}
        await node.tell(event, once.answered(out))
    return answer(out, 201, {"Location": f"/v1/constellations/{constellation_id}"})


@router.get("", response_model=shown.SummariesOut)
async def list_constellations(
    node: Node,
    state: ConstellationState | None = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 50,
    cursor: Annotated[str, Query(max_length=300)] = "",
) -> Response:
    """Return a page of constellations, the newest first."""
    before = _uncursored(cursor) if cursor else None
    found = await node.store.summaries(state=state, before=before, limit=limit)
    items = [
        {name: getattr(one, name) for name in ("id", "name", "state", "stars", "submitted_at", "ended_at")}
        for one in found
    ]
    more = len(found) == limit
    return answer({"items": items, "next": _cursor(found[-1].submitted_at, found[-1].id) if more else None})


@router.get("/{constellation_id}", response_model=shown.ConstellationOut)
async def get(
    node: Node, constellation_id: str, include: Annotated[Literal["analysis"] | None, Query()] = None
) -> Response:
    """Return a constellation with its stars, lines, attempts, causes, and why what waits waits."""
    found = await node.constellation(constellation_id)
    picture = pictures.constellation(found, node.runner.core if found.end is None else None)
    if include:
        if len(found.courses) > ANALYSED_STARS_MAX:
            raise Problem(422, "too-large", f"more than {ANALYSED_STARS_MAX} stars are not analysed")
        picture["analysis"] = analysis.analysed(found)
    encoded = msgspec.json.encode(picture)
    await node.durable(constellation_id)  # what is shown is safe to act on
    return Response(encoded, headers={"ETag": f'"{picture["revision"]}"'}, media_type="application/json")


@router.post("/{constellation_id}/edits", response_model=shown.EditedOut, responses=WRITING)
async def edit(
    node: Node, once: OnceOnly, constellation_id: str, body: schemas.EditIn, if_match: Annotated[str, Header()] = ""
) -> Response:
    """Change what has not started: all operations, or none."""
    operations = tuple(operation_of(one, f"/operations/{index}") for index, one in enumerate(body.operations))
    async with once.answering():
        found = await node.open_constellation(constellation_id)
        base = body.base if body.base is not None else _revision_in(if_match, found.revision)
        event = ConstellationEdited(
            at=node.now(),
            constellation=constellation_id,
            base=base,
            edit=Edit(operations, body.reason),
            by=BY,
            rebase=body.rebase,
        )
        if body.dry_run:
            return answer(dry_run(node, found, event))
        out: dict[str, Any] = {"id": constellation_id}
        await node.tell(event, once.revised(out, found))
    return answer(out)


@router.post(
    "/{constellation_id}:cancel", status_code=202, response_model=shown.ConstellationBriefOut, responses=WRITING
)
async def cancel(node: Node, once: OnceOnly, constellation_id: str, body: schemas.ReasonIn | None = None) -> Response:
    """End it: what has not started is cancelled, what runs is told to stop. `cancelling` until no device acts."""
    reason = body.reason if body else ""
    with suppress(Replayed):
        async with once.answering():
            await node.open_constellation(constellation_id)
            event = CancelRequested(at=node.now(), constellation=constellation_id, reason=reason, by=BY)
            await node.tell(event, once.answered(None))
    return await brief(node, constellation_id, 202)


@router.post("/{constellation_id}:pause", response_model=shown.ConstellationBriefOut, responses=WRITING)
async def pause(node: Node, once: OnceOnly, constellation_id: str, body: schemas.ReasonIn | None = None) -> Response:
    """Dispatch nothing more of it; what runs goes on."""
    reason = body.reason if body else ""
    with suppress(Replayed):
        async with once.answering():
            await node.open_constellation(constellation_id)
            event = ConstellationPaused(at=node.now(), constellation=constellation_id, reason=reason, by=BY)
            await node.tell(event, once.answered(None))
    return await brief(node, constellation_id)


@router.post("/{constellation_id}:resume", response_model=shown.ConstellationBriefOut, responses=WRITING)
async def resume(node: Node, once: OnceOnly, constellation_id: str) -> Response:
    """Go on. A failure that waited for a person's answer then counts as it is."""
    with suppress(Replayed):
        async with once.answering():
            await node.open_constellation(constellation_id)
            event = ConstellationResumed(at=node.now(), constellation=constellation_id, by=BY)
            await node.tell(event, once.answered(None))
    return await brief(node, constellation_id)


async def brief(node: Parts, constellation_id: str, status: int = 200) -> Response:
    """Return a constellation without its stars and lines, as an answer."""
    picture = pictures.brief(await node.constellation(constellation_id))
    await node.durable()
    return answer(picture, status)


def _checked(body: schemas.ConstellationIn) -> tuple[tuple[Star, ...], tuple[Line, ...]]:
    for what, sent, most in (("stars", body.stars, words.STARS_MAX), ("lines", body.lines, words.LINES_MAX)):
        if len(sent) > most:
            raise InvalidEdit(f"{len(sent)} {what}, at most {most}", f"/{what}")
    stars = tuple(star_of(star, f"/stars/{index}") for index, star in enumerate(body.stars))
    return stars, tuple(line_of(line, f"/lines/{index}") for index, line in enumerate(body.lines))


def _planning(node: Parts, body: schemas.ConstellationIn) -> Planning:
    planning = planning_of(body.planning, for_goal=body.goal is not None)
    if planning.planner not in (known := [*node.planners, REPAIR, EXTERNAL]):
        text = f"there is no planner {planning.planner!r} here; there is {', '.join(sorted(known))}"
        if planning.planner == LLM:
            text += "; set GALAXY_LLM_URL before `galaxy serve`, and there will be one"
        raise Problem(422, "invalid-request", text, place="/planning/planner")
    return planning


def new_id(name: str) -> str:
    """Return an id that says something and is nobody else's."""
    words = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    slug = "-".join(word for word in words.split("-") if word)[:SLUG_CHARS_MAX].rstrip("-") or "constellation"
    return f"{slug}-{secrets.token_hex(5)}"


def _revision_in(if_match: str, last: int) -> int:
    text = if_match.strip().removeprefix("W/").strip('"')
    if text in ("", "*"):
        return last
    if not REVISION.fullmatch(text):
        raise Problem(422, "invalid-request", f"If-Match: {if_match} is not a revision", place="header:if-match")
    return int(text)


def _cursor(submitted_at: float, constellation_id: str) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([submitted_at, constellation_id])).decode().rstrip("=")


def _uncursored(cursor: str) -> tuple[float, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        submitted_at, last = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=tuple[float, str])
    except (binascii.Error, msgspec.DecodeError, ValueError) as exc:
        raise Problem(422, "invalid-request", "not a cursor of this list", place="query:cursor") from exc
    if not NAME.fullmatch(last):
        raise Problem(422, "invalid-request", "not a cursor of this list", place="query:cursor")
    return submitted_at, last
