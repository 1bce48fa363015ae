"""Upkeep on demand: let go now of what has been kept for long enough."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from ..store.contract import Gone
from ..upkeep import KINDS
from .errors import WRITING
from .parts import Node, answer

router = APIRouter(prefix="/v1", tags=["upkeep"])

DAY_S = 86_400.0


class UpkeepIn(BaseModel):
    """What to let go of; without anything, what the node's settings say."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False
    keep_ended_days: Annotated[float | None, Field(gt=0, le=100_000)] = None


class GoneOut(BaseModel):
    """How much of one kind went, or would go."""

    kind: str
    amount: int
    bytes: int


class UpkeepOut(BaseModel):
    """`more`: ask again, for it goes by small parts."""

    items: list[GoneOut]
    more: bool


@router.post("/upkeep", response_model=UpkeepOut, responses=WRITING)
async def upkeep(node: Node, body: UpkeepIn | None = None) -> Response:
    """Let go of a part of what has been kept for long enough, or with `dry_run` only tell how much that is."""
    wanted = body or UpkeepIn()
    keep = node.upkeep.keep
    if wanted.keep_ended_days is not None:
        keep = replace(keep, ended_s=wanted.keep_ended_days * DAY_S)
    tally = await (node.upkeep.look(keep) if wanted.dry_run else node.upkeep.step(keep))
    return answer(
        {
            "items": [_item(kind, tally[kind]) for kind in KINDS],
            "more": not wanted.dry_run and any(one.amount for one in tally.values()),
        }
    )


def _item(kind: str, gone: Gone) -> dict[str, str | int]:
    return {"kind": kind, "amount": gone.amount, "bytes": gone.bytes}
