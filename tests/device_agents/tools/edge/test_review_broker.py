"""Brokers that do not answer, vanish or come back, and what is left on the wire when a call or the agent ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from device_agents import services
from device_agents.errors import ToolFailed
from device_agents.tools.edge import broker
from device_agents.tools.edge.mqtt import MqttPublish
from device_agents.tools.edge.settings import RelaySettings
from device_agents.tools.edge.store import SeriesStore
from device_agents.tools.edge.things import RelaySet, SensorRead

from ..bench import Bench, failing
from .stands import edge

CONNECT, PUBLISH, SUBSCRIBE, PING, DISCONNECT = 1, 3, 8, 12, 14


class Scripted:
    """A broker that does as its test says: whether it greets, and whether it confirms what is said to it."""

    def __init__(self, *, greets: bool = True, confirms: bool = True) -> None:
        self.greets = greets
        self.confirms = confirms
        self.said: list[int] = []  # kinds of packets, over all connections
        self.published: list[bytes] = []
        self.open = 0
        self.news = asyncio.Event()
        self.url = ""
        self._writers: list[asyncio.StreamWriter] = []

    async def until(self, so: Any) -> None:
        async with asyncio.timeout(10):
            while not so():
                self.news.clear()
                await self.news.wait()

    def drop(self) -> None:
        """End all connections without a word, as a crash does."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.open += 1
        self.news.set()
        try:
            while True:
                kind, body = await _packet(reader)
                self.said.append(kind >> 4)
                self._answer(kind, body, writer)
                self.news.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.open -= 1
            self.news.set()
        finally:
            writer.close()

    def _answer(self, kind: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        if kind >> 4 == CONNECT and self.greets:
            writer.write(b"\x20\x02\0\0")
        if kind >> 4 == PUBLISH:
            length = int.from_bytes(body[:2], "big")
            self.published.append(body[2 : 2 + length] + b" " + body[4 + length :])
            if self.confirms:
                writer.write(b"\x40\x02" + body[2 + length : 4 + length])
        if kind >> 4 == SUBSCRIBE and self.confirms:
            writer.write(b"\x90\x03" + body[:2] + b"\x01")
        if kind >> 4 == PING and self.confirms:
            writer.write(b"\xd0\0")


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, length, shift = (await reader.readexactly(1))[0], 0, 0
    while True:
        (byte,) = await reader.readexactly(1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return kind, await reader.readexactly(length)


@asynccontextmanager
async def a_scripted_broker(**how: bool) -> AsyncIterator[Scripted]:
    scripted = Scripted(**how)
    server = await asyncio.start_server(scripted._serve, "127.0.0.1", 0)
    scripted.url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        server.close()
        scripted.drop()


def tasks() -> set[str]:
    return {each.get_coro().__qualname__ for each in asyncio.all_tasks()}  # type: ignore[union-attr]  # each has one


def test_a_call_that_is_cancelled_before_the_broker_has_greeted_leaves_no_connection(tmp_path: Path):
    bench = Bench(tmp_path)

    async def cancelled() -> None:
        async with a_scripted_broker(greets=False) as scripted:
            said = {"topic": "home/lamp", "payload": "ON"}
            call = asyncio.create_task(bench.run(MqttPublish(edge(scripted.url)), **said))
            await scripted.until(lambda: CONNECT in scripted.said)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
            await scripted.until(lambda: scripted.open == 0)
            assert [each for each in tasks() if "misc" in each] == []

    asyncio.run(cancelled())


def test_a_broker_that_never_greets_costs_the_time_for_it_and_leaves_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Bench(tmp_path)
    monkeypatch.setattr(broker, "_ANSWER_S", 0.3)

    async def unanswered() -> None:
        async with a_scripted_broker(greets=False) as scripted:
            with failing("unavailable", retryable=True):
                await bench.run(MqttPublish(edge(scripted.url)), topic="home/lamp", payload="ON")
            await scripted.until(lambda: scripted.open == 0)
            assert [each for each in tasks() if "misc" in each] == []

    asyncio.run(unanswered())


def test_an_agent_whose_broker_hangs_ends_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    bench = Bench(tmp_path)
    monkeypatch.setattr(broker, "_ANSWER_S", 0.3)
    monkeypatch.setattr(services, "GOODBYE_WITHIN_S", 1.0)

    async def ended() -> None:
        async with a_scripted_broker() as scripted:
            tool = SensorRead(edge(scripted.url, status="home/agent"), SeriesStore(100))

            async def work() -> None:
                await scripted.until(lambda: SUBSCRIBE in scripted.said)
                scripted.confirms = False

            async with asyncio.timeout(5):
                await services.beside([tool], bench.guard, work())

    asyncio.run(ended())


def test_a_service_that_makes_a_failure_of_its_cancellation_is_not_begun_again(tmp_path: Path):
    bench = Bench(tmp_path)
    begun: list[int] = []
    has_begun = asyncio.Event()

    async def work() -> None:
        await has_begun.wait()

    async def stubborn() -> None:
        begun.append(1)
        has_begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ToolFailed("connection_lost", "it could not say goodbye")

    class Stubborn(RelaySet):
        def services(self, guard: Any) -> Any:
            return [stubborn]

    async def ended() -> None:
        async with asyncio.timeout(5):
            await services.beside([Stubborn(edge())], bench.guard, work())

    asyncio.run(ended())
    assert begun == [1]


def test_a_relay_that_was_held_when_its_broker_crashed_is_made_safe_when_the_broker_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    bench = Bench(tmp_path)
    monkeypatch.setattr(broker, "_ANSWER_S", 0.5)

    async def held() -> list[bytes]:
        async with a_scripted_broker() as scripted:
            tool = RelaySet(edge(scripted.url))

            async def work() -> None:
                holding = asyncio.create_task(bench.run(tool, relay="fan", to="on", hold_s=60))
                await scripted.until(lambda: b"home/fan ON" in scripted.published)
                scripted.drop()
                await asyncio.wait([holding])
                assert isinstance(holding.exception(), ToolFailed)
                await scripted.until(lambda: b"home/fan OFF" in scripted.published)

            await services.beside([tool], bench.guard, work())
            return scripted.published

    assert b"home/fan OFF" in asyncio.run(held())


def test_a_relay_with_a_safe_position_is_safe_when_the_agent_starts_and_a_newer_word_counts(tmp_path: Path):
    bench = Bench(tmp_path)

    async def started(*, newer: bool) -> list[bytes]:
        async with a_scripted_broker() as scripted:
            tool = RelaySet(edge(scripted.url, relays={"pump": RelaySettings("home/pump/set", safe="off")}))
            if newer:
                await bench.run(tool, relay="pump", to="on")

            async def work() -> None:
                await scripted.until(lambda: scripted.said.count(CONNECT) >= 2)
                await scripted.until(lambda: scripted.published)

            await services.beside([tool], bench.guard, work())
            return scripted.published

    on, off = b"home/pump/set ON", b"home/pump/set OFF"
    assert asyncio.run(started(newer=False)) == [off, off]  # at the start, and at the end
    assert asyncio.run(started(newer=True)) in ([on], [on, off])  # at most at the end
