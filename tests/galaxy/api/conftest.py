"""A node and a device for the tests of the API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from .devices import Device, connected
from .helpers import Node, a_node


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with a_node(tmp_path) as node:
        yield node


@pytest_asyncio.fixture
async def laptop(node: Node) -> Device:
    """A device that has joined and is connected."""
    return await connected(node, slots=4)
