"""Archives, and what hostile ones get."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from device_agents.guard import Limits, Policy
from device_agents.tools.server.archive import ArchiveList, ArchivePack, ArchiveUnpack

from ..bench import Bench, failing


def tar_of(path: Path, *members: tuple[str, bytes | str], mode: str = "w:gz") -> Path:
    """Write a tar; a member with text instead of bytes is a link to that."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_what_is_packed_comes_out_as_it_went_in(bench: Bench, form: str):
    source = bench.work / "in"
    (source / "deep").mkdir(parents=True)
    (source / "one.txt").write_bytes(b"1")
    (source / "deep/two.bin").write_bytes(os.urandom(700_000))
    os.symlink("/etc/passwd", source / "link")

    packed = bench.call(ArchivePack(), path="in", form=form)
    again = bench.call(ArchivePack(), path="in", form=form)
    unpacked = bench.call(ArchiveUnpack(), archive={"$artifact": packed.archive.sha256, "bytes": 1}, folder="out")

    assert (packed.files, packed.skipped, unpacked.files, unpacked.skipped) == (2, 1, 2, 0)
    assert form != "zip" or packed.archive.sha256 == again.archive.sha256
    assert files_below(bench.work / "out") == {
        name: content for name, content in files_below(source).items() if name != "link"
    }


def test_a_list_tells_what_the_archive_says(bench: Bench):
    tar_of(bench.work / "x.tar", ("a", b"123"), ("l", "a"), mode="w")

    told = bench.call(ArchiveList(), path="x.tar")

    assert [(each.name, each.bytes, each.kind) for each in told.entries] == [("a", 3, "file"), ("l", 0, "other")]
    assert (told.count, told.bytes) == (2, 3)


ESCAPES = ["../x", "a/../../x", "/etc/x", "..\\x", "C:\\x", "a/..", "x" * 1_001]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_name_that_leads_out_is_refused_before_anything_is_written(bench: Bench, pack, name: str):
    pack(bench.work / "x", ("good.txt", b"1"), (name, b"2"))

    with failing("unsafe_archive", "nothing was unpacked"):
        bench.call(ArchiveUnpack(), path="x", folder="out")
    assert not (bench.work / "out").exists()


def test_links_are_left_out_and_what_is_meant_to_go_through_them_stays_inside(bench: Bench):
    tar_of(bench.work / "x", ("door", str(bench.outside)), ("door/x", b"2"))

    told = bench.call(ArchiveUnpack(), path="x", folder="out")

    assert (told.files, told.skipped) == (1, 1)
    assert (bench.work / "out/door/x").read_bytes() == b"2"
    assert list(bench.outside.iterdir()) == []


def test_a_link_that_lies_there_is_not_followed(bench: Bench):
    (bench.work / "out").mkdir()
    os.symlink(bench.outside, bench.work / "out/door")
    os.symlink(bench.outside / "x", bench.work / "out/file")
    tar_of(bench.work / "x", ("door/x", b"2"))
    tar_of(bench.work / "y", ("file", b"2"))

    for name in ("x", "y"):
        with pytest.raises(Exception, match=r"link|levels"):
            bench.call(ArchiveUnpack(), path=name, folder="out")
    assert list(bench.outside.iterdir()) == []


def test_a_link_in_a_zip_is_left_out(bench: Bench):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(bench.work / "x", "w") as archive:
        archive.writestr(info, "/etc/passwd")

    assert bench.call(ArchiveUnpack(), path="x", folder="out").skipped == 1


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_bomb_ends_at_the_limit_whatever_it_says_of_itself(tmp_path: Path, pack):
    bench = Bench(tmp_path, Policy(limits=Limits(file_bytes=1 << 20)))
    pack(bench.work / "x", ("zeros", bytes(64 << 20)))

    with failing("too_large", "limits.file_bytes"):
        bench.call(ArchiveUnpack(), path="x", folder="out")
    assert (bench.work / "out/zeros").stat().st_size <= 1 << 20


def test_too_many_members_are_refused(bench: Bench):
    with zipfile.ZipFile(bench.work / "x", "w") as archive:
        for number in range(20_001):
            archive.writestr(str(number), b"")

    with failing("too_large", "20000 entries"):
        bench.call(ArchiveUnpack(), path="x", folder="out")


def test_what_is_no_archive_or_is_damaged_is_said_to_be(bench: Bench):
    (bench.work / "x").write_bytes(b"no archive")
    whole = zip_of(bench.work / "z", ("a", os.urandom(1000))).read_bytes()
    (bench.work / "y").write_bytes(whole[:40] + b"\0\0\0\0" + whole[44:])

    for name in ("x", "y"):
        with failing("bad_archive"):
            bench.call(ArchiveUnpack(), path=name, folder="out")
