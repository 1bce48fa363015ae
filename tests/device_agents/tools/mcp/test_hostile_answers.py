"""An MCP server behind a URL that is meant to do harm: what it answers has an end, or the connection has."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from device_agents.tools.mcp.discovery import _add, tools
from device_agents.tools.mcp.server import Server
from device_agents.tools.mcp.settings import McpSettings

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LONG = HEAD + b"Content-Length: 3000000000\r\n\r\n[" + b" " * (20 << 20)
PACKED_BODY = gzip.compress(b"[" + b" " * (64 << 20))
PACKED = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(PACKED_BODY) + PACKED_BODY
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: " + b"x" * (4 << 20)
AWAY = b"HTTP/1.1 307 X\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
DEEP = HEAD + b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000


@contextmanager
def a_server(answer: bytes) -> Iterator[str]:
    """Yield the URL of one that says this to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def served() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(2)
                        connection.recv(65_536)
                        connection.sendall(answer)

        thread = threading.Thread(target=served, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.mark.parametrize(
    ("answer", "why"),
    [(LONG, "more than"), (PACKED, "packed"), (EVENTS, "byte limit"), (AWAY, "not followed"), (DEEP, "rogue")],
    ids=["long", "packed", "events", "redirect", "deep"],
)
def test_a_server_whose_answers_do_harm_costs_its_own_tools_only(answer: bytes, why: str):
    began = time.monotonic()
    with a_server(answer) as url:
        (silent,) = tools({"rogue": McpSettings(url=url, start_s=5.0, timeout_s=5.0)})

    assert silent.name == "mcp:rogue"
    assert why in str(silent._failure.failure.message)  # type: ignore[attr-defined]  # it is an McpSilent
    assert time.monotonic() - began < 8


class Described:
    """A tool as the library would hand it on."""

    def __init__(self, schema: Any) -> None:
        self.name = self.description = self.title = "x"
        self.annotations = None
        self.input_schema = schema


def test_a_schema_that_is_nested_beyond_reason_is_left_out():
    found: dict[str, Any] = {}
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(5_000):
        schema = {"type": "object", "properties": {"a": schema}}

    _add(found, Server("rogue", McpSettings(("true",))), Described(schema))

    assert found == {}
