"""Puts the API together."""

from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware

from . import (
    agent_llm,
    approvals,
    artifacts,
    constellations,
    consults,
    devices,
    errors,
    events,
    health,
    revisions,
    stars,
    upkeep,
    wire,
)
from .gate import Gate, Rules
from .idempotency import Replayed
from .parts import Parts, answer
from .shown import ProblemOut

VERSION = "1"


def build(parts: Parts, rules: Rules) -> FastAPI:
    """Return the application."""
    app = FastAPI(
        title="Galaxy",
        version=VERSION,
        description="Orchestration of agents across unlike devices.",
        middleware=[Middleware(Gate, rules=rules)],
        docs_url=None,
        redoc_url=None,
    )
    app.state.parts = parts
    errors.install(app)
    app.add_exception_handler(Replayed, _replayed)
    resources = (
        constellations,
        stars,
        approvals,
        consults,
        revisions,
        events,
        devices,
        artifacts,
        agent_llm,
        upkeep,
        health,
    )
    for resource in resources:
        app.include_router(resource.router)
    app.router.routes.append(wire.route(parts.gateway))
    app.openapi = partial(_described, app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, with our problems where FastAPI tells of its own."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        models = document["components"]["schemas"]
        for theirs in ("HTTPValidationError", "ValidationError"):
            models.pop(theirs, None)
        models["ProblemOut"] = ProblemOut.model_json_schema()
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema


async def _replayed(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, Replayed)
    return answer(exc.answer, 200, {"Idempotent-Replayed": "true"})
