"""What is in an archive, entry by entry, however it is packed. What the archive says of itself has a limit.

The libraries read as much at once as an archive says, and for as long as it goes on. Here they read through a Source:
it ends with its call, and of names, headers and directories it gives only so much.
"""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Literal, NamedTuple

from ...errors import ToolFailed
from ..blocking import Stop

MEMBERS_MAX = 20_000
HEADERS_BYTES_MAX = 32 << 20  # of a tar: some 1,500 for each entry
DIRECTORY_BYTES_MAX = 8 << 20  # of a zip, whose library takes ten times as much memory
_PIECE_BYTES = 1 << 18
_XZ_MEMORY_BYTES = 128 << 20  # of its dictionary: what the highest preset of xz needs
_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_ZIP_FORMS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # of the others, zipfile unpacks each piece whole
_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError),
    *(EOFError, ValueError, NotImplementedError, RuntimeError, OverflowError),
)


class Member(NamedTuple):
    """One entry of an archive, as it says."""

    name: str
    bytes: int
    kind: Literal["file", "folder", "other"]


class Source(io.BufferedIOBase):
    """The bytes of a file, as long as the call is wanted. While `is_said` they are the archive's own words, and few.

    One that cannot jump, for it unpacks, reads on to where it is sent, and is never sent back.
    """

    def __init__(self, file: io.BufferedIOBase | BinaryIO, stop: Stop, *, jumps: bool) -> None:
        self.is_said = False
        self.room = HEADERS_BYTES_MAX  # for what it says
        self._file = file
        self._stop = stop
        self._jumps = jumps
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        if self._jumps:
            self._at = self._file.seek(to, whence)
        elif whence != io.SEEK_SET or to < self._at:
            raise tarfile.ReadError("it leads back to what has been read")
        while self._at < to and not self._jumps and self._some(to - self._at):
            pass
        return self._at

    def read(self, count: int | None = -1) -> bytes:
        if count is None or count < 0:
            count = self.room + 1  # the library asks so for the last bytes of a zip only
        elif self.is_said:
            count = min(count, self.room + 1)
        found = bytearray()
        while len(found) < count and (piece := self._some(count - len(found))):
            found += piece
        if self.is_said:
            self.room -= len(found)
            if self.room < 0:
                text = "the archive says more of its entries, their names and headers than is read"
                raise ToolFailed("too_large", text)
        return bytes(found)

    def _some(self, count: int) -> bytes:
        self._stop.check()
        piece = self._file.read(min(count, _PIECE_BYTES))
        self._at += len(piece)
        return piece


class _Unpacked(io.BufferedIOBase):
    """What is in an .xz file. The library's own reader takes as much memory as the file asks for."""

    def __init__(self, file: Source) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)

    def read(self, count: int | None = -1) -> bytes:
        assert count is not None
        while True:
            packed = b""
            if self._decoder.eof:
                packed = self._decoder.unused_data or self._file.read(_PIECE_BYTES)
                if not packed.strip(b"\0"):
                    return b""
                self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES)
            elif self._decoder.needs_input and not (packed := self._file.read(_PIECE_BYTES)):
                raise EOFError("it ends in the middle")
            if unpacked := self._decoder.decompress(packed, count):
                return unpacked


def members(file: BinaryIO, stop: Stop) -> Iterator[tuple[Member, BinaryIO | None]]:
    """Yield the entries, each with its content if it is a file; raise ToolFailed when it is no archive."""
    with told_of_damage():
        source = Source(file, stop, jumps=True)
        is_zip = zipfile.is_zipfile(source)
        source.seek(0)
        entries = _of_zip(source) if is_zip else _of_tar(source, stop)
        for number, (member, content) in enumerate(entries):
            stop.check()
            if number == MEMBERS_MAX:
                raise ToolFailed("too_large", f"the archive has more than {MEMBERS_MAX} entries")
            if member.bytes < 0:
                raise ToolFailed("bad_archive", f"the entry {member.name[:200]!r} says that it has less than no bytes")
            yield member, content


def read(content: BinaryIO) -> bytes:
    """Return the next piece of an entry; nothing at its end."""
    with told_of_damage():
        return content.read(_PIECE_BYTES)


@contextmanager
def told_of_damage() -> Iterator[None]:
    try:
        yield
    except _DAMAGED as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # the disk, and not what is on it
        raise ToolFailed("bad_archive", f"neither a zip nor a tar archive, or a damaged one: {exc}"[:300]) from exc


def _of_zip(source: Source) -> Iterator[tuple[Member, BinaryIO | None]]:
    source.is_said, source.room = True, DIRECTORY_BYTES_MAX
    with zipfile.ZipFile(source) as archive:
        source.is_said = False
        for info in archive.infolist():
            mode = info.external_attr >> 16
            if info.is_dir():
                yield Member(info.filename, 0, "folder"), None
            elif mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                yield Member(info.filename, info.file_size, "other"), None
            elif info.compress_type not in _ZIP_FORMS:
                raise NotImplementedError("in a zip, only what is stored or deflated is unpacked")
            else:
                with archive.open(info) as content:
                    yield Member(info.filename, info.file_size, "file"), content  # type: ignore[misc]  # it reads


def _of_tar(packed: Source, stop: Stop) -> Iterator[tuple[Member, BinaryIO | None]]:
    source = _unpacking(packed, stop)
    source.is_said = True
    with tarfile.open(fileobj=source, mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
            source.is_said = False
            if info.isdir():
                yield Member(info.name, 0, "folder"), None
            elif info.isreg() and not info.issparse():
                yield Member(info.name, info.size, "file"), archive.extractfile(info)  # type: ignore[misc]  # it reads
            else:
                yield Member(info.name, info.size, "other"), None
            source.is_said = True


def _unpacking(packed: Source, stop: Stop) -> Source:
    begin = packed.read(len(_XZ))
    packed.seek(0)
    if begin.startswith(_GZIP):
        return Source(gzip.GzipFile(fileobj=packed), stop, jumps=False)
    if begin.startswith(_BZIP2):
        return Source(bz2.BZ2File(packed), stop, jumps=False)
    if begin == _XZ:
        return Source(_Unpacked(packed), stop, jumps=False)
    return packed
