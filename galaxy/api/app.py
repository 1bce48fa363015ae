"""Puts the API together."""

from fastapi import FastAPI, Request, Response
from starlette.middleware import Middleware

from . import artifacts, constellations, devices, errors, events, health, stars, wire
from .gate import Gate, Rules
from .idempotency import Replayed
from .parts import Parts, answer

BODY_BYTES_MAX = 4 << 20
VERSION = "1"



def build(parts: Parts, rules: Rules) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="Galaxy",
        version=VERSION,
        description="Orchestration of agents across unlike devices.",
        middleware=[Middleware(Gate, rules=rules)],
        max_body_size=BODY_BYTES_MAX,
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    errors.install(app)
    app.add_exception_handler(Replayed, _replayed)
    for resource in (constellations, stars, events, devices, artifacts, health):
        app.include_router(resource.router)
    app.router.routes.append(wire.route(parts.gateway))
    return app


async def _replayed(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Replayed)
    return answer(exc.answer, 200, {"Idempotent-Replayed": "true"})
