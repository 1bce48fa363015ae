"""What may happen only once and is cut off in the middle: it is never said not to have happened."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from msgspec import Raw

from device_agents.errors import ToolFailed
from device_agents.guard import Guard, Policy
from device_agents.tools.server import docker
from device_agents.tools.server.docker import DockerLogs, DockerRestart, unframed
from device_agents.tools.server.settings import DatabaseSettings, ServerSettings, SshSettings
from device_agents.tools.server.sql import SqlExecute
from device_agents.tools.server.ssh import SshRun
from device_agents.tools.shell import ShellRun
from device_agents.work import CUT_OFF
from device_agents.work import Bench as Calls
from protocol.messages import Assign
from protocol.vocabulary import Effect, Outcome

from ....servers import PostgresServer
from ...helpers import worked
from ..bench import Bench, failing

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


async def at_docker(bench: Bench, answer: Answer, tool: Any, **arguments: Any) -> Any:
    """Return what the tool says of a daemon that answers like this, once it has read the request."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await answer(reader, writer)
        writer.close()

    socket = str(bench.outside / "d.sock")
    server = await asyncio.start_unix_server(served, socket)
    try:
        return await bench.run(tool(ServerSettings(docker_socket=socket, docker_restart=("web",))), **arguments)
    finally:
        server.close()


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(b"x")
        await asyncio.wait([ended], timeout=0.05)


@pytest.mark.parametrize("answer", [hangs_up, says_nothing, drips])
def test_a_restart_that_the_daemon_has_heard_of_and_not_answered_may_have_happened(
    bench: Bench, answer: Answer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(docker, "_TIMEOUT_S", 0.5)

    with pytest.raises(ToolFailed) as caught:
        asyncio.run(asyncio.wait_for(at_docker(bench, answer, DockerRestart, container="web"), 10))
    assert caught.value.failure.code in CUT_OFF, caught.value.failure


def test_a_daemon_that_is_not_there_has_done_nothing(bench: Bench):
    settings = ServerSettings(docker_socket=str(bench.outside / "none"), docker_restart=("web",))

    with failing("unavailable", retryable=True):
        bench.call(DockerRestart(settings), container="web")


def test_a_log_of_many_small_pieces_is_put_together_quickly(bench: Bench):
    piece = b"\x01\0\0\0" + (4).to_bytes(4, "big") + b"abc\n"
    count = 600_000

    async def logs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + piece * count)
        await writer.drain()

    told = asyncio.run(asyncio.wait_for(at_docker(bench, logs, DockerLogs, container="web"), 10))

    assert len(bench.shelf.content(told.artifact)) == 4 * count
    assert unframed(b"plain text\n") == b"plain text\n"


@asynccontextmanager
async def a_host(folder: Path, served: Any) -> Any:
    """Yield the settings of an SSH server in this loop."""
    host_key, key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "key"))
    (folder / "authorized").write_bytes(key.export_public_key())
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=str(folder / "authorized"),
        process_factory=served,
        encoding=None,
    )
    public = host_key.export_public_key().decode().strip()
    try:
        yield SshSettings("127.0.0.1", public, "galaxy", str(folder / "key"), server.get_port(), ("*",))
    finally:
        server.close()


async def is_reset(process: Any) -> None:
    process.channel.get_connection()._transport.abort()


async def is_closed_without_a_word(process: Any) -> None:
    process.close()


@pytest.mark.parametrize("served", [is_reset, is_closed_without_a_word])
def test_a_program_on_a_host_whose_end_nobody_has_told_may_have_run(bench: Bench, served: Any):
    async def ran() -> None:
        async with a_host(bench.outside, served) as host:
            await bench.run(SshRun({"farm": host}), host="farm", argv=["true"], check=False)

    with pytest.raises(ToolFailed) as caught:
        asyncio.run(ran())
    assert caught.value.failure.code in CUT_OFF, caught.value.failure


def test_a_key_that_is_none_has_run_nothing_and_is_told(bench: Bench):
    (bench.outside / "key").write_text("no key", "utf-8")
    host = SshSettings("127.0.0.1", "ssh-ed25519 AAAA", "galaxy", str(bench.outside / "key"), 1, ("*",))

    with failing("bad_key"):
        bench.call(SshRun({"farm": host}), host="farm", argv=["true"])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_terminate_backend(pg_backend_pid())",
        "DO $$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END$$",
    ],
)
def test_a_change_whose_connection_breaks_may_have_happened(bench: Bench, postgres: PostgresServer, sql: str):
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    tool = SqlExecute({"shop": DatabaseSettings(url, write=True, superuser=True)})

    with pytest.raises(ToolFailed) as caught:
        bench.call(tool, database="shop", sql=sql)
    assert caught.value.failure.code in CUT_OFF, caught.value.failure


def test_a_change_whose_rows_cannot_be_kept_is_not_made(bench: Bench, postgres: PostgresServer):
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    tool = SqlExecute({"shop": DatabaseSettings(url, write=True, superuser=True)})
    bench.call(tool, database="shop", sql="CREATE TABLE IF NOT EXISTS kept (x int)")
    bench.context.scratch.parent.mkdir(parents=True, exist_ok=True)
    bench.context.scratch.write_text("in the way of the folder", "utf-8")

    with pytest.raises(ToolFailed):
        bench.call(tool, database="shop", sql="INSERT INTO kept SELECT generate_series(1, 9) RETURNING x", limit=1)
    bench.context.scratch.unlink()
    assert bench.call(tool, database="shop", sql="SELECT count(*) FROM kept").rows == [[0]]


def test_a_program_that_is_killed_with_its_keeper_may_have_done_what_it_was_to_do(bench: Bench):
    policy = Policy(shell=True)  # noqa: S604  # a policy, and no call
    calls = Calls({"shell.run": ShellRun()}, Guard(policy, bench.work), bench.context.scratch.parent, bench.shelf)
    order = Assign("c/star#1", "shell.run", Raw(b'{"shell": "kill -9 $PPID"}'), Effect.ONCE, run_s=20.0)

    report = asyncio.run(worked(order, calls, lambda note, fraction: None))

    assert report.failure is not None
    assert (report.outcome, report.failure.code) == (Outcome.UNKNOWN, "killed")
