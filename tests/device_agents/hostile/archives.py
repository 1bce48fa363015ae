"""Archives that are meant to do harm. Each makes one in the work folder, and returns the arguments that name it."""

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from ..tools.bench import Bench

MIB = bytes(1 << 20)


def _named(bench: Bench) -> tuple[Path, dict[str, Any]]:
    return bench.work / "x", {"path": "x"}


def slip(bench: Bench) -> dict[str, Any]:
    """A file that is to lie beside the folder."""
    path, named = _named(bench)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.txt", "1")
        archive.writestr("../../outside/x", "2")
    return named | {"folder": "out"}


def through_a_link(bench: Bench) -> dict[str, Any]:
    """A link to the outside, and a file that is to go through it."""
    path, named = _named(bench)
    with tarfile.open(path, "w:gz") as archive:
        door = tarfile.TarInfo("door")
        door.type, door.linkname = tarfile.SYMTYPE, str(bench.outside)
        archive.addfile(door)
        info = tarfile.TarInfo("door/x")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"2"))
    return named | {"folder": "out"}


def bomb(bench: Bench) -> dict[str, Any]:
    """64 MiB of zeros in 64 KiB."""
    path, named = _named(bench)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(64 << 20))
    return named | {"folder": "out"}


def bzip2_bomb(bench: Bench) -> dict[str, Any]:
    """A zip whose library would unpack 64 MiB at once, of less than a piece."""
    path, named = _named(bench)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("zeros", bytes(64 << 20))
    return named | {"folder": "out"}


def header_bomb(bench: Bench, size: int = 128 << 20) -> dict[str, Any]:
    """A header of an entry that goes on for very long."""
    path, named = _named(bench)
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, size
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size >> 20):
            file.write(MIB)
    return named


def long_names(bench: Bench) -> dict[str, Any]:
    """Few entries, whose names have a million characters each."""
    path, named = _named(bench)
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, compresslevel=1) as archive:
        for number in range(40):
            archive.addfile(tarfile.TarInfo("n" * 1_000_000 + str(number)))
    return named


def negative(bench: Bench) -> dict[str, Any]:
    """An entry of less than no bytes, so that the next one would be itself."""
    path, named = _named(bench)
    head = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    head[124:136] = b"\xff" * 10 + b"\xfe\x00"
    sum_of_it = 256 + sum(head[:148]) + sum(head[156:512])
    head[148:156] = b"%06o\0 " % sum_of_it
    path.write_bytes(bytes(head) + bytes(1024))
    return named


def directory_bomb(bench: Bench) -> dict[str, Any]:
    """A zip that consists of its directory: 700,000 entries, and no content."""
    path, named = _named(bench)
    fixed = (b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
    directory = (struct.pack("<4s4B4HL2L5H2L", *fixed) + b"a") * 700_000
    count = 700_000 & 0xFFFF
    path.write_bytes(directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), 0, 0))
    return named


def wide_xz(bench: Bench) -> dict[str, Any]:
    """A file that asks its reader for a dictionary of 1 GiB, which its maker did not need: the header is changed."""
    path, named = _named(bench)
    packed = bytearray(lzma.compress(bytes(10_240), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]))
    assert packed[12:16] == bytes((2, 0, 0x21, 1))  # the block's header: LZMA2, with one byte of properties
    packed[16] = 36  # of the dictionary's size: 1 GiB
    packed[20:24] = _checksum(bytes(packed[12:20]))
    path.write_bytes(bytes(packed))
    return named


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", zlib.crc32(content))


def endless(bench: Bench, size_mib: int = 8 << 10) -> dict[str, Any]:
    """An entry of 8 GiB in 37 MB, which a reader skips only by unpacking it."""
    path, named = _named(bench)
    info = tarfile.TarInfo("x")
    info.size = 20 << 30
    piece = gzip.compress(bytes(256 << 20), 1)
    with path.open("wb") as file:
        file.write(gzip.compress(info.tobuf(tarfile.GNU_FORMAT)))
        for _ in range(size_mib >> 8):
            file.write(piece)
    return named
