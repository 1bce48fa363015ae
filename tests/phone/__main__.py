"""Start a phone: `python -m tests.phone --port 47000 --folder phone`.

It says in one line of JSON where it is, and ends on SIGTERM, or when its leash is let go, with all that it started.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import psutil

from .device import PROPERTIES, State
from .programs import PROGRAMS, Answer, Programs
from .screen import screen
from .services import Shell
from .storage import Storage
from .sync import Sync
from .wire import Connection, Service

Take = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
FEATURES = ("shell_v2", "stat_v2", "fixed_push_mkdir")


def banner() -> bytes:
    told = "".join(f"{name}={PROPERTIES[name]};" for name in PROPERTIES if name.startswith("ro.product."))
    return f"device::{told}features={','.join(FEATURES)}".encode()


class Daemon:
    """The two doors of the phone: that of ADB, and that of its own programs and of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._take: Take | None = None
        self._port = 0

    def leave(self) -> None:
        """Be gone, without a word to anybody."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in self._connections:
            connection.close()

    async def come_back(self) -> None:
        if self._server is None:
            await self._listen(self._port)

    async def _listen(self, port: int) -> int:
        assert self._take is not None
        self._server = await asyncio.start_server(self._take, "127.0.0.1", port)
        self._port = self._server.sockets[0].getsockname()[1]
        return self._port

    async def serve(self, port: int, leash: int | None) -> None:
        """Run until somebody ends it."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        if leash is not None:
            loop.add_reader(leash, ended.set)
        async with AsyncExitStack() as opened:
            seen = await opened.enter_async_context(screen())
            storage = Storage(self.folder / "files")
            programs = Programs(seen, storage, self.leave, self.come_back, State())
            control = await asyncio.start_server(partial(self._answer, programs), "127.0.0.1", 0)
            inner = control.sockets[0].getsockname()[1]
            shell = Shell(self._programs(), storage.root, inner)
            self._take = partial(self._taken, shell, storage)
            outer = await self._listen(port)
            told = {"port": outer, "control": inner, "serial": f"127.0.0.1:{outer}", "pid": os.getpid()}
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
            await ended.wait()
            self.leave()
            control.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _programs(self) -> Path:
        """Make the folder that is the PATH on the phone."""
        folder = self.folder / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        script = self.folder / "program"
        code = Path(__file__).with_name("program.py").read_text("utf-8")
        script.write_text(f"#!{sys.executable} -IS\n{code}", "utf-8")
        script.chmod(0o755)
        for name in PROGRAMS:
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(script)
        return folder

    async def _taken(
        self, shell: Shell, storage: Storage, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = Connection((reader, writer), banner(), partial(service, shell, storage))
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(connection)
        self._tasks.add(task)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _answer(self, programs: Programs, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with asyncio.TaskGroup() as group:
                said = await reader.readexactly(int(await reader.readline()))
                running = group.create_task(programs.run([os.fsdecode(each) for each in said.split(b"\0")]))
                leaving = group.create_task(reader.read())  # who asked is gone: killed, with its shell
                await asyncio.wait([running, leaving], return_when=asyncio.FIRST_COMPLETED)
                for each in (running, leaving):
                    each.cancel()
            answer = running.result() if not running.cancelled() else Answer(130)
            head = f"{answer.code} {len(answer.stdout)} {len(answer.stderr)}\n"
            writer.write(head.encode() + answer.stdout + answer.stderr)
            await writer.drain()
        except OSError:
            return
        finally:
            self._tasks.discard(task)
            writer.close()


def service(shell: Shell, storage: Storage, name: str) -> Service | None:
    """Return what serves a stream to this destination, or None."""
    kind, _, rest = name.partition(":")
    match kind.split(","):
        case ["shell", "v2", *_]:
            return lambda stream: shell.in_packets(stream, rest)
        case ["shell", *_] | ["exec"]:
            return lambda stream: shell.raw(stream, rest)
        case ["sync"]:
            return lambda stream: Sync(storage, stream).serve()
    return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.phone")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--leash", type=int, help="a file descriptor: when its other end is closed, the phone ends")
    parser.add_argument("--detached", action="store_true", help="be no child of whoever starts it")
    given = parser.parse_args()
    if given.detached and os.fork():
        os._exit(0)
    if given.detached:
        os.setsid()
    given.folder.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(Daemon(given.folder.resolve()).serve(given.port, given.leash))
    finally:
        for child in psutil.Process().children(recursive=True):
            child.kill()


if __name__ == "__main__":
    main()
