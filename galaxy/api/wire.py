"""The devices' door: a WebSocket that speaks `aip.v1`."""

from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send

from protocol.link import AcceptedSocket
from protocol.vocabulary import SUBPROTOCOL

from ..gateway import Gateway

PROTOCOL_ERROR = 1002


class Door:
    """An ASGI application of its own: what every star passes through twice goes through no framework."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        if SUBPROTOCOL not in scope.get("subprotocols", []):
            reason = f"the subprotocol is {SUBPROTOCOL}"
            await send({"type": "websocket.close", "code": PROTOCOL_ERROR, "reason": reason})
            return
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
        await self._gateway.serve(AcceptedSocket(receive, send))


def route(gateway: Gateway) -> WebSocketRoute:
    """Return the route to the door."""
    return WebSocketRoute("/v1/agent", Door(gateway))
