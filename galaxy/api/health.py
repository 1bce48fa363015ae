"""Health, readiness and metrics."""

from fastapi import APIRouter, Response

from ..core.fleet import Presence
from . import shown
from .errors import problems
from .parts import Node, answer

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=shown.HealthOut, responses=problems(403))
async def healthz() -> Response:
    """The process lives and its loop turns."""
    return answer({"status": "ok"})


@router.get("/readyz", response_model=shown.HealthOut, responses={503: {"model": shown.HealthOut}, **problems(403)})
async def readyz(node: Node) -> Response:
    """The node can record, and so can promise."""
    if node.is_stopping:
        return answer({"status": "stopping"}, 503)
    if trouble := node.runner.store_trouble:
        since = node.now() - node.runner.store_trouble_s
        return answer({"status": "unready", "detail": f"the store: {trouble}", "since": round(since, 3)}, 503)
    return answer({"status": "ok"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **problems(401, 403)})
async def metrics(node: Node) -> Response:
    """What the node measures of itself, in Prometheus' format."""
    core, instruments = node.runner.core, node.metrics
    instruments.store_trouble.set(node.runner.store_trouble_s if node.runner.store_trouble else 0.0)
    instruments.leases.set(sum(len(held) for held in core.placer.held.values()))
    instruments.devices.set(sum(d.presence is Presence.CONNECTED for d in core.fleet.devices.values()))
    instruments.suspected.set(sum(bool(d.suspected) for d in core.fleet.devices.values()))
    instruments.heartbeat.set(node.gateway.pulse.heartbeat_s)
    instruments.greetings.set(node.gateway.greeting)
    instruments.constellations.set(len(core.constellations))
    instruments.inbox.set(node.runner.waiting)
    instruments.outbox.set(node.gateway.unacknowledged())
    return Response(instruments.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
