"""What the server's tools work on in tests: real repositories, databases, a journal, a host to log in to."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from device_agents.tools import Settings
from device_agents.tools.server.settings import DatabaseSettings, ServerSettings, SshSettings

from ..bench import Bench

GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
FOR_EVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


def git(folder: Path, *words: str) -> str:
    """Return what git says in the folder."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@localhost", "-c", "init.defaultBranch=main")
    how = subprocess.run(
        ["git", *who, *words], cwd=folder, env=GIT, capture_output=True, text=True, check=True, timeout=20
    )
    return how.stdout.strip()


def a_repository(folder: Path) -> Path:
    """Return a repository with one commit and one change that is not committed."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "plan.txt").write_text("one\n", "utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "The plan")
    (folder / "plan.txt").write_text("one\ntwo\n", "utf-8")
    return folder


def a_database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            "CREATE TABLE parts (name TEXT, price REAL, made TEXT); "
            "INSERT INTO parts VALUES ('bolt', 0.5, '2026-01-02'), ('nut', 0.25, NULL);"
        )
    return path


def with_a_database(bench: Bench, *, write: bool = False) -> Settings:
    path = bench.work / "shop.db"
    if not path.exists():
        a_database(path)
    return Settings(server=ServerSettings(databases={"shop": DatabaseSettings(f"sqlite:///{path}", write)}))


@dataclass(frozen=True)
class Host:
    """Somewhere to log in to."""

    port: int
    host_key: str
    key: str

    def settings(self, *programs: str, host_key: str | None = None) -> Settings:
        host = SshSettings("127.0.0.1", host_key or self.host_key, "galaxy", self.key, self.port, programs)
        return Settings(server=ServerSettings(ssh={"farm": host}))


@contextmanager
def a_host(folder: Path) -> Iterator[Host]:
    """Yield an SSH server of this process, which really runs what it is told, as the user that the tests run as."""
    host_key, key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(folder / "key"))
    authorized = folder / "authorized"
    authorized.write_bytes(key.export_public_key())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def opened() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            authorized_client_keys=str(authorized),
            process_factory=_served,
            encoding=None,
        )

    async def closed() -> None:
        server.close()
        await server.wait_closed()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        await loop.shutdown_default_executor()

    server = asyncio.run_coroutine_threadsafe(opened(), loop).result(10)
    try:
        yield Host(server.get_port(), host_key.export_public_key().decode().strip(), str(folder / "key"))
    finally:
        asyncio.run_coroutine_threadsafe(closed(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _served(process: "asyncssh.SSHServerProcess[bytes]") -> None:
    """Run the command, as long as somebody is there to hear of it."""
    assert process.command is not None
    stdin = await process.stdin.read()
    running = _started(process.command)
    try:
        stdout, stderr = await asyncio.get_running_loop().run_in_executor(None, running.communicate, stdin)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()
    process.stdout.write(stdout)
    process.stderr.write(stderr)
    process.exit(running.returncode)


def _started(command: str) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    return subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
