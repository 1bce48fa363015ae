"""Who may call at all, by the Host and Origin of every request and the bearer of all but a few; how much they send."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..access import bearer_in, host_allowed, origin_allowed, same
from .errors import Problem, response

ARTIFACTS = "/v1/artifacts/"
JOIN = "/v1/join"
# What needs no bearer: health, and what proves itself otherwise (a join token, a device's key).
OPEN_PATHS = frozenset({"/healthz", "/readyz", JOIN, "/v1/agent"})
# What takes the token of a device's session, and no other.
DEVICE_PATHS = frozenset({"/v1/agent-llm/chat/completions", "/v1/agent-llm/models"})
BODY_BYTES_MAX = 4 << 20
QUESTION_BYTES_MAX = 1 << 20  # to the model
PIECE_BYTES_MAX = 16 << 20  # of an artifact
JOIN_BYTES_MAX = 4 << 10  # anyone may send it
LENGTH_DIGITS_MAX = 20
POLICY_VIOLATION = 1008


@dataclass(frozen=True, slots=True)
class Rules:
    """What the gate checks against."""

    token_digest: str
    host_names: frozenset[str]
    artifact_device: Callable[[str], str | None]  # the device whose session has this artifact token


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), str(scope["path"])
        most = _bytes_max(path)
        problem = self._problem(headers, path) or _too_large(headers, most)
        if problem is None:
            await self._app(scope, _limited(receive, most) if scope["type"] == "http" else receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem.code})
        else:
            told = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
            await response(problem, told)(scope, receive, send)

    def _problem(self, headers: Headers, path: str) -> Problem | None:
        host = headers.get("host", "")
        if not host_allowed(host, self._rules.host_names):
            return Problem(403, "forbidden-host", f"this node does not go by the name {host!r}")
        if not origin_allowed(headers.get("origin", ""), host):
            return Problem(403, "forbidden-origin", f"pages of {headers['origin']} may not call")
        if path in OPEN_PATHS:
            return None
        token = bearer_in(headers.get("authorization", ""))
        if path in DEVICE_PATHS:
            return None if token and self._rules.artifact_device(token) else _not_of_a_device(token)
        if same(token, self._rules.token_digest):
            return None
        if path.startswith(ARTIFACTS) and token and self._rules.artifact_device(token):
            return None
        return Problem(401, "unauthorized", "a wrong token" if token else "no token")


def _bytes_max(path: str) -> int:
    if path in DEVICE_PATHS:
        return QUESTION_BYTES_MAX
    return JOIN_BYTES_MAX if path == JOIN else PIECE_BYTES_MAX if path.startswith(ARTIFACTS) else BODY_BYTES_MAX


def _not_of_a_device(token: str) -> Problem:
    text = "this token is of no device's session" if token else "no token"
    what_next = "Send `Authorization: Bearer TOKEN` with the token that came with the session's welcome."
    return Problem(401, "unauthorized", text, next=what_next)


def _too_large(headers: Headers, most: int) -> Problem | None:
    length = headers.get("content-length", "")
    if len(length) < LENGTH_DIGITS_MAX and not (length.isdecimal() and int(length) > most):
        return None
    return Problem(413, "body-too-large", f"more than {most} bytes")


def _limited(receive: Receive, most: int) -> Receive:
    """Return how a body is received that does not say beforehand how long it is."""
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise HTTPException(413, f"more than {most} bytes")
        return message

    return limited
