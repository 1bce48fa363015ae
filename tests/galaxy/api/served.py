"""A node in this process that answers on a port of loopback, in a thread and a loop of its own."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from galaxy.node import Server
from galaxy.sockets import protocols

from .helpers import WITHIN_S, Node, a_node

T = TypeVar("T")


@dataclass
class Served:
    """The node's address, and a way to do something in its loop."""

    url: str
    node: Node
    loop: asyncio.AbstractEventLoop

    def do(self, work: Callable[[Node], Awaitable[T]]) -> T:
        """Return what the work in the node's loop gives."""

        async def working() -> T:
            return await work(self.node)

        return asyncio.run_coroutine_threadsafe(working(), self.loop).result(WITHIN_S)

    def begin(self, work: Callable[[Node], Awaitable[Any]]) -> None:
        """Let something happen in the node's loop beside the test."""

        async def working() -> None:
            await work(self.node)

        self.loop.call_soon_threadsafe(lambda: self.node.start(working()))


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Lend a node that can be called by its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    found: list[Served] = []
    ready = threading.Event()
    servers: list[Server] = []

    async def serve() -> None:
        async with a_node(folder) as node:
            carried = protocols(node.parts.metrics.readers_cut.inc)
            server = Server(uvicorn.Config(node.app, lifespan="off", log_config=None, **carried))
            servers.append(server)
            found.append(Served(f"http://127.0.0.1:{listener.getsockname()[1]}", node, asyncio.get_running_loop()))
            ready.set()
            await server.serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    with listener:
        thread.start()
        assert ready.wait(WITHIN_S)
        try:
            yield found[0]
        finally:
            servers[0].should_exit = True
            thread.join(WITHIN_S)
