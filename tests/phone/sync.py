"""The `sync:` service: files to the phone and from it, folders and status."""

import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .storage import Storage
from .wire import Abandoned, Stream

_NAME_BYTES_MAX = 1024
_PIECE_BYTES_MAX = 64 << 10
_STATUS_V2 = struct.Struct("<4sIQQIIIIQqqq")


class Sync:
    """One conversation, of as many requests as the peer likes."""

    def __init__(self, storage: Storage, stream: Stream) -> None:
        self._storage = storage
        self._stream = stream

    async def serve(self) -> None:
        while True:
            word, length = await self._word()
            if word == b"QUIT":
                return
            if length > _NAME_BYTES_MAX:
                await self._fail("the name is too long")
                return
            name = (await self._stream.exactly(length)).decode("utf-8", "replace")
            match word:
                case b"STAT":
                    await self._status(name)
                case b"LST2":
                    await self._status_v2(word, name, os.lstat)
                case b"STA2":
                    await self._status_v2(word, name, os.stat)
                case b"LIST":
                    await self._list(name)
                case b"SEND":
                    await self._take(name)
                case b"RECV":
                    await self._give(name)
                case _:
                    await self._fail(f"unknown request {word!r}")
                    return

    async def _word(self) -> tuple[bytes, int]:
        word, number = struct.unpack("<4sI", await self._stream.exactly(8))
        return word, number

    async def _say(self, word: bytes, number: int, content: bytes = b"") -> None:
        await self._stream.write(struct.pack("<4sI", word, number) + content)

    async def _fail(self, reason: str) -> None:
        await self._say(b"FAIL", len(reason.encode()), reason.encode())

    async def _status(self, name: str) -> None:
        try:
            found = os.lstat(self._storage.path(name))
            numbers = found.st_mode, min(found.st_size, 0xFFFFFFFF), int(found.st_mtime)
        except OSError:
            numbers = 0, 0, 0
        await self._stream.write(struct.pack("<4sIII", b"STAT", *numbers))

    async def _status_v2(self, word: bytes, name: str, look: Callable[[Path], os.stat_result]) -> None:
        try:
            found = look(self._storage.path(name))
        except OSError as exc:
            await self._stream.write(_STATUS_V2.pack(word, exc.errno or 1, *[0] * 10))
            return
        times = int(found.st_atime), int(found.st_mtime), int(found.st_ctime)
        who = found.st_mode, found.st_nlink, found.st_uid, found.st_gid
        await self._stream.write(_STATUS_V2.pack(word, 0, found.st_dev, found.st_ino, *who, found.st_size, *times))

    async def _list(self, name: str) -> None:
        try:
            entries = sorted(self._storage.path(name).resolve().iterdir())
        except OSError:
            entries = []
        for entry in entries:
            found, told = entry.lstat(), os.fsencode(entry.name)
            numbers = found.st_mode, min(found.st_size, 0xFFFFFFFF), int(found.st_mtime), len(told)
            await self._stream.write(struct.pack("<4sIIII", b"DENT", *numbers) + told)
        await self._stream.write(struct.pack("<4sIIII", b"DONE", 0, 0, 0, 0))

    async def _take(self, request: str) -> None:
        """Write what comes. Should that fail, take the rest of it nevertheless: the peer listens at the end only."""
        name, _, mode = request.rpartition(",")
        failure, file = "", None
        try:
            file = self._opened(name, int(mode or "0", 0))
        except (OSError, ValueError) as exc:
            failure = f"couldn't create file: {exc}"
        try:
            while True:
                word, number = await self._word()
                if word == b"DONE":
                    break
                if word != b"DATA" or number > _PIECE_BYTES_MAX:
                    await self._fail("no data")
                    raise Abandoned
                piece = await self._stream.exactly(number)
                if file is not None:
                    file.write(piece)
        finally:
            if file is not None:
                file.close()
        if failure:
            await self._fail(failure)
            return
        os.utime(self._storage.path(name), (number, number))
        await self._say(b"OKAY", 0)

    def _opened(self, name: str, mode: int) -> BinaryIO:
        path = self._storage.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, stat.S_IMODE(mode) | 0o600)
        return os.fdopen(opened, "wb")

    async def _give(self, name: str) -> None:
        try:
            with self._storage.path(name).resolve().open("rb") as file:
                while piece := file.read(_PIECE_BYTES_MAX):
                    await self._say(b"DATA", len(piece), piece)
        except OSError as exc:
            await self._fail(f"open failed: {exc.strerror}")
            return
        await self._say(b"DONE", 0)
