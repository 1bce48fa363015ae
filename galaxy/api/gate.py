"""Who may call at all: the Host and Origin of every request, and the bearer of all but a few."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from ..access import bearer_in, host_allowed, origin_allowed, same
from .errors import Problem, response

# What needs no bearer: health, and what proves itself otherwise (a join token, a device's key).
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/v1/join", "/v1/agent"})
ARTIFACTS = "/v1/artifacts/"
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
        problem = self._problem(Headers(scope=scope), str(scope["path"]))
        if problem is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem.code})
        else:
            headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
            await response(problem, headers)(scope, receive, send)

    def _problem(self, headers: Headers, path: str) -> Problem | None:
        host = headers.get("host", "")
        if not host_allowed(host, self._rules.host_names):
            return Problem(403, "forbidden-host", f"this node does not go by the name {host!r}")
        if not origin_allowed(headers.get("origin", ""), host):
            return Problem(403, "forbidden-origin", f"pages of {headers['origin']} may not call")
        if path in OPEN_PATHS:
            return None
        token = bearer_in(headers.get("authorization", ""))
        if same(token, self._rules.token_digest):
            return None
        if path.startswith(ARTIFACTS) and token and self._rules.artifact_device(token):
            return None
        return Problem(401, "unauthorized", "a wrong token" if token else "no token")
