"""The way to the phone: through an adb server, to its shell and its files.

ask         a command that only looks, and what it said
act         a command that does something: cut off in the middle, nobody knows whether it did
status, pulled, push    files
"""

import ipaddress
import shlex
import socket
import stat
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from ...errors import ToolFailed
from .. import wanted
from ..blocking import Stop, unblocked
from .settings import MobileSettings

T = TypeVar("T")

ANSWER_S = 30.0  # without an answer; a slow phone takes ten seconds for its screen
OUTPUT_BYTES_MAX = 8 << 20
_CONNECT_S = 5.0
_SERVER_S = 20.0
_LOOK_S = 0.05  # between two looks at whether anyone still wants it
_PIECE_BYTES = 64 << 10  # of a file: more is not allowed at once
_STDOUT, _STDERR, _EXIT = 1, 2, 3
_LAST_WORDS_CHARS = 300


@dataclass(frozen=True, slots=True)
class Said:
    """How a command of the phone ended, and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace").replace("\r\n", "\n")

    @property
    def complaint(self) -> str:
        """The end of what it said of a failure."""
        said = self.stderr.strip() or self.stdout.strip()
        return said[-_LAST_WORDS_CHARS:].decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Status:
    """What lies at a path of the phone. Mode 0: nothing."""

    mode: int
    size: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


def command(*words: str) -> str:
    """Return a command line that the phone's shell reads as just these words, whatever they hold."""
    return shlex.join(words)


class Line:
    """A phone, for the time of one call. Its methods block; `hang_up` ends them, from any thread."""

    def __init__(self, settings: MobileSettings) -> None:
        self._settings = settings
        self._stop = Stop()
        self._held: list[socket.socket] = []
        self._phone: Any = None
        self._acted = False
        self._serial = settings.serial or settings.connect

    def hang_up(self) -> None:
        self._stop.set()
        for held in self._held:
            with suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)  # closing it would not wake who waits for it

    def used(self, work: Callable[["Line"], T], stop: Stop) -> T:
        """Return what the work returns; raise ToolFailed as `on_phone` says."""
        adb = wanted.library("adbutils", "mobile")
        self._stop = stop
        try:
            served(self._settings, stop)
            client = _client_type()(self._settings, self._hold)
            self._serial = _attached(client, self._settings)
            self._phone = client.device(serial=self._serial)
            return work(self)
        except adb.AdbTimeout as exc:
            raise ToolFailed("timeout", f"the phone {self._serial} does not answer: {exc}", retryable=True) from exc
        except (adb.AdbError, OSError, EOFError, struct.error, ValueError) as exc:
            code = "connection_lost" if self._acted else "device_offline"
            raise ToolFailed(code, f"the phone {self._serial} has gone away: {exc}"[:500], retryable=True) from exc
        finally:
            for held in self._held:  # also those that adbutils has forgotten where something failed
                held.close()

    def ask(self, line: str, *, timeout_s: float = ANSWER_S, bytes_max: int = OUTPUT_BYTES_MAX) -> Said:
        """Return how the command line ended, which only looks at something."""
        with self._opened(timeout_s) as connection:
            connection.send_command(f"shell,v2,raw:{line}")
            connection.check_okay()
            return self._heard(connection, time.monotonic() + timeout_s, bytes_max)

    def act(self, line: str, *, timeout_s: float = ANSWER_S) -> Said:
        """Return how the command line ended, which does something on the phone."""
        with self._opened(timeout_s) as connection:
            connection.send_command(f"shell,v2,raw:{line}")
            connection.check_okay()
            self._acted = True
            return self._heard(connection, time.monotonic() + timeout_s, OUTPUT_BYTES_MAX)

    def status(self, path: str) -> Status:
        """Return what lies at the path; a link is not followed."""
        with self._syncing(b"STAT", path) as connection:
            _, mode, size, _ = struct.unpack("<4sIII", connection.read_exact(16))
            return Status(mode, size)

    def pulled(self, path: str, bytes_max: int) -> Iterator[bytes]:
        """Yield the file's bytes; raise ToolFailed not_permitted, too_large."""
        count = 0
        with self._syncing(b"RECV", path) as connection:
            while True:
                word, length = struct.unpack("<4sI", connection.read_exact(8))
                if word == b"DONE":
                    return
                if word != b"DATA" or length > _PIECE_BYTES:
                    raise _refused(connection, word, length)
                count += length
                if count > bytes_max:
                    raise ToolFailed(
                        "too_large", f"{path} has more than {bytes_max} bytes (limits.file_bytes in guard.toml)"
                    )
                yield connection.read_exact(length)

    def push(self, file: BinaryIO, path: str) -> int:
        """Write all of the file to the path, and return how many bytes that were; raise ToolFailed not_permitted."""
        count = 0
        with self._syncing(b"SEND", f"{path},{stat.S_IFREG | 0o644}") as connection:
            while piece := file.read(_PIECE_BYTES):
                self._stop.check()
                # Not adbutils' own push: with a deadline on the socket, it loses what does not go out at once.
                connection.conn.sendall(struct.pack("<4sI", b"DATA", len(piece)) + piece)
                count += len(piece)
            connection.conn.sendall(struct.pack("<4sI", b"DONE", int(time.time())))
            word, length = struct.unpack("<4sI", connection.read_exact(8))
            if word != b"OKAY":
                raise _refused(connection, word, length)
        return count

    def _hold(self, connection: socket.socket) -> None:
        self._held.append(connection)
        self._stop.check()

    @contextmanager
    def _opened(self, timeout_s: float) -> Iterator[Any]:
        self._stop.check()
        connection = self._phone.open_transport(timeout=timeout_s)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _syncing(self, word: bytes, path: str) -> Iterator[Any]:
        name = path.encode()
        with self._opened(ANSWER_S) as connection:
            connection.send_command("sync:")
            connection.check_okay()
            connection.conn.sendall(struct.pack("<4sI", word, len(name)) + name)
            yield connection

    def _heard(self, connection: Any, deadline: float, bytes_max: int) -> Said:
        found = {_STDOUT: bytearray(), _STDERR: bytearray()}
        while True:
            connection.conn.settimeout(max(0.001, deadline - time.monotonic()))
            kind, length = struct.unpack("<BI", connection.read_exact(5))
            if length > bytes_max or sum(map(len, found.values())) + length > bytes_max:
                raise ToolFailed("output_too_large", f"the phone says more than {bytes_max} bytes")
            piece = connection.read_exact(length)
            if kind == _EXIT:
                return Said(piece[0] if piece else 0, bytes(found[_STDOUT]), bytes(found[_STDERR]))
            if kind in found:
                found[kind] += piece


async def on_phone(settings: MobileSettings, work: Callable[[Line], T]) -> T:
    """Return what the work returns, off the loop; when cancelled, the line is cut.

    Raises ToolFailed: not_installed, unavailable, device_offline, timeout, and connection_lost where something was
    being done on the phone.
    """
    line = Line(settings)
    return await unblocked(lambda stop: line.used(work, stop), end=line.hang_up)


def served(settings: MobileSettings, stop: Stop) -> None:
    """Return when an adb server answers. One on this machine is started where a phone is named, and runs on."""
    if _answers(settings):
        return
    where = f"{settings.adb_host}:{settings.adb_port}"
    if not _is_here(settings.adb_host):
        raise ToolFailed("unavailable", f"no adb server answers at {where}", retryable=True)
    if not (settings.serial or settings.connect):  # most mobile devices have none, and want no server for it
        said = "no adb server runs, and no phone is named: serial or connect under [mobile] in agent.toml does it"
        raise ToolFailed("unavailable", said)
    adb = wanted.program("adb", "adb")
    quiet = subprocess.DEVNULL  # it would hold our outputs open as long as it lives
    starting = subprocess.Popen(  # noqa: S603  # no word of a call is in it
        [adb, "-P", str(settings.adb_port), "start-server"],
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _SERVER_S
        while starting.poll() is None and time.monotonic() < deadline:
            stop.check()
            with suppress(subprocess.TimeoutExpired):
                starting.wait(_LOOK_S)
    finally:
        starting.kill()
        starting.wait()
    if not _answers(settings):
        raise ToolFailed("unavailable", f"`adb start-server` started no server at {where}", retryable=True)


def _answers(settings: MobileSettings) -> bool:
    try:
        with socket.create_connection((settings.adb_host, settings.adb_port), timeout=3):
            return True
    except OSError:
        return False


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _client_type() -> Any:
    """Return a client that tells of each connection, with a deadline on it, and starts no server by itself."""
    adb = wanted.library("adbutils", "mobile")

    class Connection(adb.AdbConnection):  # type: ignore[name-defined,misc]
        def _safe_connect(self) -> Any:
            return self._create_socket()  # its own starts one on the usual port, whatever port was asked for

    class Client(adb.AdbClient):  # type: ignore[name-defined,misc]
        def __init__(self, settings: MobileSettings, hold: Callable[[socket.socket], None]) -> None:
            super().__init__(settings.adb_host, settings.adb_port)
            self._hold = hold

        def make_connection(self, timeout: float | None = None) -> Any:
            connection = Connection(self.host, self.port)
            connection.conn.settimeout(timeout or ANSWER_S)
            self._hold(connection.conn)
            return connection

    return Client


def _attached(client: Any, settings: MobileSettings) -> str:
    """Return the serial of the phone that is meant, and ready; raise ToolFailed device_offline, unavailable."""
    states = _states(client)
    serial = settings.serial or settings.connect
    if not serial and len(states) > 1:
        said = 'more than one phone is attached: serial = "..." under [mobile] in agent.toml says which'
        raise ToolFailed("unavailable", f"{said} ({', '.join(sorted(states))})"[:500])
    serial = serial or next(iter(states), "")
    if settings.connect and states.get(serial) not in {"device", "unauthorized"}:
        states = _connected(client, settings, serial)
    match states.get(serial):
        case "device":
            return serial
        case "unauthorized":
            raise ToolFailed("unavailable", f"{serial} has not yet allowed this computer: accept its key on the phone")
        case state:
            said = f"the phone {serial} is {state or 'not attached'}" if serial else "no phone is attached"
            raise ToolFailed("device_offline", said, retryable=True)


def _connected(client: Any, settings: MobileSettings, serial: str) -> dict[str, str]:
    """Return the states once the phone has been dialled."""
    if serial in _states(client):
        client.disconnect(settings.connect)  # the server holds on to a dead one, and would not dial again
    with suppress(wanted.library("adbutils", "mobile").AdbTimeout):  # the states tell
        client.connect(settings.connect, timeout=_CONNECT_S)
        states = _states(client)
        if serial in states and states[serial] not in {"device", "unauthorized"}:
            client.wait_for(serial, timeout=_CONNECT_S)
    return _states(client)


def _states(client: Any) -> dict[str, str]:
    return {each.serial: each.state for each in client.list()}


def _refused(connection: Any, word: bytes, length: int) -> ToolFailed:
    if word != b"FAIL" or length > _PIECE_BYTES:
        raise EOFError(f"it answers {word!r}")
    said = connection.read_exact(length).decode("utf-8", "replace")
    return ToolFailed("not_permitted", f"the phone refuses: {said}"[:500])


def write(pieces: Iterator[bytes], target: Path) -> int:
    """Write the pieces to the file, and return how many bytes they were."""
    count = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for piece in pieces:
            count += file.write(piece)
    return count
