"""Every refusal as a problem (RFC 9457): a stable type, the place, and what to do next. The only mapping there is."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ..artifacts import TooLarge, WrongBytes, WrongOffset
from ..core.errors import Conflict, InvalidEdit, OverBudget, Refused, StaleRevision, UnknownId
from ..store.errors import StoreUnavailable

MEDIA_TYPE = "application/problem+json"
ERRORS_SHOWN = 20
RETRY_SOON = {"Retry-After": "1"}
RETRY_LATER = {"Retry-After": "5"}  # as often as the store is tried again when it is gone for long

NEXT = {
    "stale-revision": "Read the constellation again and make the edit against its revision.",
    "invalid-edit": "Correct what stands at `place` and send it again; nothing was changed.",
    "unknown-id": "List what there is, and check the spelling.",
    "forgotten": "Keep ended constellations longer (GALAXY_KEEP_ENDED_DAYS), or take copies of what they say in time.",
    "conflict": "Read the current state; the request does not fit it.",
    "invalid-request": "Correct what stands at each place and send it again; nothing was changed.",
    "unauthorized": "Send `Authorization: Bearer TOKEN`; the token was printed when the galaxy was made.",
    "forbidden-host": "Use an address of this node, or let the name in with --allow-host.",
    "forbidden-origin": "Call from the node's own pages, or from a program that sends no Origin.",
    "body-too-large": "Send less at once: stars may be added by edits, and artifacts go in pieces.",
    "not-found": "Look at /openapi.json for what there is.",
    "method-not-allowed": "Look at /openapi.json for what this path takes.",
    "ended": "An ended constellation does not change; submit a new one.",
    "key-reused": "Use a new Idempotency-Key for another request.",
    "in-progress": "The same request is being answered; ask again in a moment.",
    "busy": "Ask again in a moment; what was not acknowledged may or may not be done, so use an Idempotency-Key.",
    "store-unavailable": "Look at /readyz for the cause; nothing acknowledged is lost.",
    "wrong-offset": "Continue at `offset`.",
    "wrong-bytes": "Send the bytes whose SHA-256 is the artifact's name.",
    "too-large": "Split it.",
    "bad-range": "Ask for bytes that are there: HEAD tells how many there are.",
    "cut-short": "Ask with HEAD how much is here, and send the rest.",
    "not-its-attempt": "Name in `Galaxy-Attempt` an instruction's attempt that this device holds, as it was assigned.",
    "budget-exhausted": "Grant more: in `constraints.budget`, or in the instruction's `tokens_max`.",
    "no-model": "Set GALAXY_LLM_URL, GALAXY_LLM_MODEL, and GALAXY_LLM_KEY where one is wanted; start the node again.",
    "too-many-calls": "Wait for an answer before asking again.",
    "model-busy": "Ask again later, not before Retry-After where that is given.",
    "model-timeout": "Ask again, for a shorter answer.",
    "model-failed": "Ask again; if it stays so, look at the node's log and its GALAXY_LLM_ settings.",
    "http-error": "Look at /openapi.json for what this path takes.",
}


class Problem(Exception):
    """An answer that is a problem."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.more = status, code, detail, more
        self.headers = headers


def response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem as a response."""
    body = {
        "type": f"urn:galaxy:problem:{problem.code}",
        "title": problem.code.replace("-", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "next": NEXT.get(problem.code),
        **problem.more,
    }
    content = {key: value for key, value in body.items() if value is not None}
    # In ASCII: what is quoted may hold halves of characters, which are nothing in UTF-8.
    return Response(json.dumps(content), problem.status, dict(headers or {}), MEDIA_TYPE)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the declaration of these statuses as problems, for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in sorted(statuses)}


READING = problems(401, 403, 404, 410, 422, 503)
WRITING = problems(400, 401, 403, 404, 409, 410, 413, 422, 503)


def problem_of(exc: Exception) -> Problem:
    """Return the problem that an exception is to a caller."""
    text = str(exc)
    match exc:
        case Problem():
            return exc
        case StaleRevision():
            return Problem(409, "stale-revision", text, revision=exc.revision)
        case InvalidEdit():
            return Problem(422, "invalid-edit", text, place=exc.place or None)
        case UnknownId():
            return Problem(404, "unknown-id", text)
        case OverBudget():
            return Problem(402, "budget-exhausted", text)
        case Conflict() | Refused():
            return Problem(409, "conflict", text)
        case StoreUnavailable():
            return Problem(503, "store-unavailable", text, headers=RETRY_LATER)
        case WrongOffset():
            return Problem(409, "wrong-offset", text, offset=exc.offset)
        case WrongBytes():
            return Problem(422, "wrong-bytes", text)
        case TooLarge():
            return Problem(413, "too-large", text)
        case TimeoutError():
            return Problem(503, "busy", "no answer in time", headers=RETRY_SOON)
        case RequestValidationError():
            return _invalid(exc)
        case HTTPException():
            codes = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}
            return Problem(exc.status_code, codes.get(exc.status_code, "http-error"), str(exc.detail))
    raise exc


def install(app: FastAPI) -> None:
    """Let the application answer with problems."""

    async def handle(_: Request, exc: Exception) -> Response:
        problem = problem_of(exc)
        return response(problem, problem.headers or getattr(exc, "headers", None))

    for kind in (
        Problem,
        Refused,
        StoreUnavailable,
        WrongOffset,
        WrongBytes,
        TooLarge,
        TimeoutError,
        RequestValidationError,
        HTTPException,
    ):
        app.add_exception_handler(kind, handle)


def _invalid(exc: RequestValidationError) -> Problem:
    errors = [
        {"place": _place(error["loc"], error["type"], exc.body), "message": error["msg"]}
        for error in exc.errors()[:ERRORS_SHOWN]
    ]
    first = errors[0]
    more = len(exc.errors()) - 1
    detail = f"{first['place'] or 'the body'}: {first['message']}" + (f" (and {more} more)" if more else "")
    return Problem(422, "invalid-request", detail, place=first["place"], errors=errors)


def _place(location: tuple[int | str, ...], kind: str, body: Any) -> str:
    """Return the location as a JSON pointer into the body, or with the name of what else was wrong."""
    where, *path = location
    if where != "body":
        return f"{where}:{'/'.join(map(str, path))}"
    if kind == "json_invalid":
        return ""  # the place is a number of characters, and stands in the message
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in _within(body, path))


def _within(body: Any, path: list[int | str]) -> list[str]:
    """Return the path without the names of alternatives that were tried, for those do not stand in the body."""
    found: list[str] = []
    for index, part in enumerate(path):
        match body:
            case dict() if part in body:
                body = body[part]
            case list() if isinstance(part, int):
                body = body[part]
            case _ if index + 1 < len(path):
                continue
        found.append(str(part))
    return found
