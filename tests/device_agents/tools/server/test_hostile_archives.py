"""Archives that are meant to take memory or time, and those that only look as if."""

import asyncio
import lzma
import tarfile
import time
import tracemalloc
import zipfile

import pytest

from device_agents.tools.server.archive import ArchiveList, ArchiveUnpack

from ...hostile import archives
from ..bench import Bench, failing
from .test_archive import tar_of


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_honest_archive_is_unpacked_however_it_is_packed(bench: Bench, mode: str):
    content = bytes(range(256)) * 4_000
    tar_of(bench.work / "x", ("a/one", content), ("two", b""), ("a/three", content[:513]), mode=mode)

    told = bench.call(ArchiveUnpack(), path="x", folder="out")

    assert (told.files, told.bytes) == (3, len(content) + 513)
    assert (bench.work / "out/a/one").read_bytes() == content
    assert (bench.work / "out/a/three").read_bytes() == content[:513]


def test_an_xz_file_of_several_streams_is_read_to_its_end(bench: Bench):
    tar_of(bench.work / "x", ("one", b"1" * 30_000), mode="w")
    whole = (bench.work / "x").read_bytes()
    (bench.work / "x").write_bytes(lzma.compress(whole[:20_000]) + lzma.compress(whole[20_000:]) + bytes(8))

    assert bench.call(ArchiveList(), path="x").count == 1


@pytest.mark.parametrize("make", [archives.header_bomb, archives.long_names, archives.directory_bomb, archives.wide_xz])
def test_what_an_archive_says_of_itself_takes_little_memory(bench: Bench, make):
    arguments = make(bench)
    tracemalloc.start()
    try:
        with pytest.raises(Exception, match=r"than is read|emory"):
            bench.call(ArchiveList(), **arguments)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_an_entry_that_goes_on_for_ever_ends_with_its_call(bench: Bench):
    arguments = archives.endless(bench)
    began = time.monotonic()

    async def given_up() -> None:
        async with asyncio.timeout(0.3):
            await bench.run(ArchiveList(), **arguments)

    with pytest.raises(TimeoutError):
        asyncio.run(given_up())
    assert time.monotonic() - began < 2


def test_a_zip_in_a_form_that_unpacks_all_at_once_is_refused_before_it_is_unpacked(bench: Bench):
    with zipfile.ZipFile(bench.work / "x", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("zeros", bytes(64 << 20))

    with failing("bad_archive", "stored or deflated"):
        bench.call(ArchiveUnpack(), path="x", folder="out")


def test_a_sparse_file_whose_map_never_ends_is_no_reason_to_go_on(bench: Bench):
    info = tarfile.TarInfo("x")
    info.size = 40 << 20
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "q"}
    (bench.work / "x").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + b"999999999\n" + b"100000\n" * (5 << 20))

    with failing("too_large", "than is read"):
        bench.call(ArchiveList(), path="x")
