"""The devices' door, through the whole application."""

import pytest

from galaxy.api.wire import PROTOCOL_ERROR
from protocol import session
from protocol.codec import framed, unframed
from protocol.messages import Challenge
from protocol.vocabulary import SUBPROTOCOL
from tests.galaxy.api.asgi import Exchange
from tests.galaxy.api.helpers import Node

pytestmark = pytest.mark.asyncio


async def opened(node: Node) -> Exchange:
    exchange = Exchange(node, "/v1/agent", kind="websocket", subprotocols=["other", SUBPROTOCOL])
    exchange.give(type="websocket.connect")
    assert await exchange.next() == {"type": "websocket.accept", "subprotocol": SUBPROTOCOL}
    return exchange


async def test_a_socket_that_speaks_something_else_is_not_accepted(node: Node):
    exchange = Exchange(node, "/v1/agent", kind="websocket", subprotocols=["aip.v2"])
    exchange.give(type="websocket.connect")
    event = await exchange.next()

    assert (event["type"], event["code"]) == ("websocket.close", PROTOCOL_ERROR)


async def test_a_socket_is_challenged_before_anything_else(node: Node):
    exchange = await opened(node)
    (challenge,) = unframed((await exchange.next())["bytes"]).messages

    assert isinstance(challenge, Challenge)
    assert challenge.galaxy == "g1"


@pytest.mark.parametrize("frame", [b"", b"\xff\xfe", b"[]", b'{"messages":[{"type":"nonsense"}]}', b"[" * 100_000])
async def test_nonsense_is_answered_with_a_goodbye_and_the_socket_is_closed(node: Node, frame: bytes):
    exchange = await opened(node)
    await exchange.next()
    exchange.give(type="websocket.receive", bytes=frame)

    assert b'"code":"malformed"' in (await exchange.next())["bytes"]
    assert (await exchange.next())["type"] == "websocket.close"
    await exchange.task


async def test_whoever_does_not_greet_in_time_is_forgotten(node: Node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(session, "GREETING_WITHIN_S", 0.02)
    exchange = await opened(node)
    await exchange.next()

    assert b'"code":"silent"' in (await exchange.next())["bytes"]
    assert (await exchange.next())["type"] == "websocket.close"
    await exchange.task
    assert not node.gateway._guests


async def test_empty_frames_do_not_keep_a_socket_that_never_greets(node: Node):
    exchange = await opened(node)
    await exchange.next()
    exchange.give(type="websocket.receive", text=framed([], first=0, ack=0).decode())

    assert b'"code":"out_of_turn"' in (await exchange.next())["bytes"]
    assert (await exchange.next())["type"] == "websocket.close"


async def test_whoever_hangs_up_before_greeting_leaves_nothing_behind(node: Node):
    exchange = await opened(node)
    exchange.give(type="websocket.disconnect", code=1006)
    await exchange.next()
    await exchange.task

    assert not node.gateway._guests
    assert node.store.rows() == []
