"""The proxy is the network: what it is told to do to a connection happens to that connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nebulabench.cluster.proxy import DOWN, UP, Proxy

pytestmark = pytest.mark.asyncio

WITHIN_S = 5.0
ASKED = b"GET / HTTP/1.1\r\n\r\n"


@asynccontextmanager
async def echoed() -> AsyncIterator[Proxy]:
    """Lend a proxy before a server that answers with what it has heard."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
        server.close()


async def said(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(ASKED)
    return reader, writer


async def heard(reader: asyncio.StreamReader, number: int = len(ASKED)) -> bytes:
    async with asyncio.timeout(WITHIN_S):
        return await reader.readexactly(number)


async def is_silent(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0.3):
            await reader.readexactly(1)
    except TimeoutError:
        return True
    return False


async def test_what_is_said_arrives_and_the_answer_too():
    async with echoed() as proxy:
        reader, _ = await said(proxy)
        assert await heard(reader) == ASKED


@pytest.mark.parametrize("ways", [(UP,), (DOWN,), (UP, DOWN)])
async def test_what_is_swallowed_never_arrives_and_nobody_is_told(ways):
    async with echoed() as proxy:
        reader, writer = await said(proxy)
        await heard(reader)
        proxy.swallow(*ways)
        writer.write(ASKED)

        assert await is_silent(reader)
        again, _ = await said(proxy)
        assert await heard(again) == ASKED, "the next connection is well"


async def test_a_reset_connection_is_reset_at_its_end():
    async with echoed() as proxy:
        reader, _ = await said(proxy)
        await heard(reader)
        proxy.reset()

        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await heard(reader)


async def test_who_is_refused_is_counted_and_let_in_later():
    async with echoed() as proxy:
        proxy.refuse = True
        reader, _ = await said(proxy)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await heard(reader)
        assert proxy.refused == 1

        proxy.refuse = False
        reader, _ = await said(proxy)
        assert await heard(reader) == ASKED


async def test_latency_is_added_each_way():
    async with echoed() as proxy:
        proxy.latency_s = 0.2
        reader, _ = await said(proxy)
        began = asyncio.get_running_loop().time()
        await heard(reader)

        assert asyncio.get_running_loop().time() - began >= 0.35
