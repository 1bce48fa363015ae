"""What only a server has: restarts, lost connections, commits whose answer never came, and other nodes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from galaxy.store import open_store, postgres_journal
from galaxy.store.errors import StoreInUse, StoreUnavailable
from tests.galaxy.store.facts import answer, batch, line, row, rows
from tests.servers import PostgresServer, free_port, postgres_server

pytestmark = pytest.mark.asyncio


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A server that the test may kill; it must be running at the end."""
    with postgres_server() as server:
        yield server


class Wire:
    """What a node's connections to the server go through, and where an answer can get lost.

    When it does, the node's end breaks and the server's stays open, as when a machine vanishes.
    """

    def __init__(self, server_port: int) -> None:
        self.port = free_port()
        self.loses_next_answer = False
        self._server_port = server_port
        self._clients: list[asyncio.StreamWriter] = []
        self._servers: list[asyncio.StreamWriter] = []

    async def carry(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._clients.append(to_client)
        self._servers.append(to_server)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._questions(client, to_server))
            tasks.create_task(self._answers(server, to_client))

    def cut(self) -> None:
        for writer in self._clients + self._servers:
            writer.transport.abort()

    async def _questions(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        while said := await read(client):
            to_server.write(said)

    async def _answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        while said := await read(server):
            if self.loses_next_answer:
                self.loses_next_answer = False
                for client in self._clients:
                    client.transport.abort()
            to_client.write(said)
        to_client.close()


async def read(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.read(65_536)
    except ConnectionError:
        return b""


@asynccontextmanager
async def wire_to(server: PostgresServer) -> AsyncIterator[Wire]:
    wire = Wire(server.port)
    async with asyncio.TaskGroup() as tasks:
        listening = await asyncio.start_server(
            lambda *ends: tasks.create_task(wire.carry(*ends)) and None, "127.0.0.1", wire.port
        )
        async with listening:
            yield wire
        wire.cut()


async def test_a_second_node_is_refused_until_the_first_lets_go(postgres: PostgresServer):
    url = await postgres.new_database()
    first = await open_store(url)

    with pytest.raises(StoreInUse, match=r"test_\d+ is in use by another Galaxy\. Stop that one"):
        await open_store(url)

    await first.close()
    await (await open_store(url)).close()


async def test_nodes_on_two_databases_of_one_server_do_not_meet(postgres: PostgresServer):
    stores = [await open_store(await postgres.new_database()) for _ in range(2)]
    for store in stores:
        await store.close()


async def test_a_server_that_cannot_be_reached_is_unavailable():
    with pytest.raises(StoreUnavailable, match="cannot be written now"):
        await open_store(f"postgresql://postgres@127.0.0.1:{free_port()}/galaxy")


async def test_a_database_that_does_not_exist_is_named_in_the_refusal(postgres: PostgresServer):
    with pytest.raises(StoreUnavailable, match='database "elsewhere" does not exist'):
        await open_store(postgres.url("elsewhere"))


async def test_a_server_that_was_killed_and_restarted_loses_and_doubles_nothing(mortal: PostgresServer):
    store = await open_store(await mortal.new_database())
    await store.append(batch(*rows(1, 3), summaries=(line(),)))
    await store.events("c", 0, 10)
    more = batch(*rows(4, 6), answered=(answer(),))

    mortal.kill()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await store.append(more)
        with pytest.raises(StoreUnavailable):
            await store.events("c", 0, 10)
    mortal.start()

    await store.append(more)
    assert await store.events("c", 0, 10) == rows(1, 6)
    await store.close()


async def test_a_commit_whose_answer_was_lost_is_accepted_when_it_is_repeated(postgres: PostgresServer):
    url = await postgres.new_database()
    async with wire_to(postgres) as wire:
        store = await open_store(url.replace(str(postgres.port), str(wire.port)))
        await store.append(batch(row(1), summaries=(line(),)))  # from here on such a batch is one question, one answer
        unsure = batch(row(2), summaries=(line(),), answered=(answer(),))

        wire.loses_next_answer = True
        with pytest.raises(StoreUnavailable):
            await store.append(unsure)
        assert await store.events("c", 0, 10) == rows(1, 2)  # it was committed
        await store.append(unsure)

        assert await store.events("c", 0, 10) == rows(1, 2)
        await store.append(batch(row(3)))
        await store.close()


async def test_a_server_that_does_not_answer_is_unavailable_after_a_deadline(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
):
    url = await postgres.new_database()
    store = await open_store(url)
    other = await asyncpg.connect(url)
    await other.execute("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE")
    monkeypatch.setattr(postgres_journal, "APPEND_S", 0.05)

    with pytest.raises(StoreUnavailable, match="TimeoutError"):
        await store.append(batch(row(1)))

    await other.close()
    monkeypatch.undo()
    await store.append(batch(row(1)))
    assert await store.events("c", 0, 10) == [row(1)]
    await store.close()
