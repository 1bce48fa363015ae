"""Devices: look, drain, revoke; and the tokens that let new ones join."""

import base64
from contextlib import suppress

from fastapi import APIRouter, Response

from .. import access
from ..core.errors import Conflict
from ..core.events import DeviceDraining, DeviceJoined, DeviceRevoked, JoinTokenMinted
from ..views import pictures
from . import schemas, shown
from .constellations import BY
from .errors import READING, WRITING, Problem
from .idempotency import OnceOnly, Replayed
from .parts import Node, Parts, answer

router = APIRouter(prefix="/v1", tags=["devices"], responses=READING)

KEY_BYTES = 32


@router.get("/devices", response_model=shown.DevicesOut)
async def list_devices(node: Node) -> Response:
    """Return all devices that have joined, with the names of their tools."""
    core = node.runner.core
    items = [pictures.device_brief(one, len(core.placer.held.get(one.id, ()))) for one in core.fleet.devices.values()]
    await node.durable()
    return answer({"items": items})


@router.get("/devices/{device_id}", response_model=shown.DeviceOut)
async def get_device(node: Node, device_id: str) -> Response:
    """Return one device with its tools, labels and load."""
    return await _shown(node, device_id)


@router.post("/devices/{device_id}:drain", response_model=shown.DeviceOut, responses=WRITING)
async def drain(node: Node, once: OnceOnly, device_id: str, body: schemas.ReasonIn | None = None) -> Response:
    """Give it no new work, until its agent is started again; what runs goes on."""
    reason = (body.reason if body else "") or "drained by a person"
    with suppress(Replayed):
        async with once.answering():
            event = DeviceDraining(at=node.now(), device=device_id, reason=reason, by=BY)
            await node.tell(event, once.answered(None))
    return await _shown(node, device_id)


@router.post("/devices/{device_id}:revoke", response_model=shown.DeviceOut, responses=WRITING)
async def revoke(node: Node, once: OnceOnly, device_id: str, body: schemas.ReasonIn | None = None) -> Response:
    """Take its key's right away and its work back. Its name may then join again, with a new key."""
    reason = (body.reason if body else "") or "revoked by a person"
    with suppress(Replayed):
        async with once.answering():
            event = DeviceRevoked(at=node.now(), device=device_id, reason=reason, by=BY)
            await node.tell(event, once.answered(None))
    return await _shown(node, device_id)


@router.post("/join-tokens", status_code=201, response_model=shown.JoinTokenOut, responses=WRITING)
async def mint_join_token(node: Node, body: schemas.JoinTokenIn | None = None) -> Response:
    """Make a token with which one device can join, once. It is shown here and never again."""
    token, now = access.new_token(), node.now()
    expires_at = now + (body or schemas.JoinTokenIn()).minutes * 60
    await node.tell(JoinTokenMinted(at=now, digest=access.digest(token), expires_at=expires_at, by=BY))
    return answer({"token": token, "expires_at": expires_at}, 201)


@router.post("/join", status_code=201, response_model=shown.JoinedOut, responses=WRITING)
async def join(node: Node, body: schemas.JoinIn) -> Response:
    """Let a device join with its token and public key. From then on its key proves it."""
    try:
        raw = base64.b64decode(body.public_key, validate=True)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise Problem(422, "invalid-request", "public_key is not 32 bytes in base64", place="/public_key")
    event = DeviceJoined(
        at=node.now(), device=body.name, public_key=body.public_key, token_digest=access.digest(body.token)
    )
    try:
        await node.tell(event)
    except Conflict as refusal:
        raise Problem(403, "join-refused", str(refusal), next="Make a join token with `galaxy token join`.") from None
    return answer({"device": body.name, "galaxy": node.galaxy_id}, 201)


async def _shown(node: Parts, device_id: str) -> Response:
    picture = _device(node, device_id)
    await node.durable()
    return answer(picture)


def _device(node: Parts, device_id: str) -> pictures.Picture:
    core = node.runner.core
    return pictures.device(core.fleet.device(device_id), len(core.placer.held.get(device_id, ())))
