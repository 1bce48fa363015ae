"""Single files: what is read, written, looked at and deleted, and what is not."""

import asyncio
import base64
import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from device_agents.errors import ToolFailed
from device_agents.guard import Folders, Guard, Limits, Policy
from device_agents.tools.base import ArtifactRef
from device_agents.tools.beneath import folder, parent, regular_file, told
from device_agents.tools.files import FileDelete, FileRead, FileStat, FileWrite
from device_agents.tools.spool import INLINE_BYTES_MAX

from .bench import Bench, failing

READS = 1_000  # where links are followed, twenty of them read the secret
SWAPPER = """
import os
os.mkdir("aside")
print("begun", flush=True)
while True:
    os.rename("inside", "aside/inside")
    os.symlink("../outside", "inside")
    os.unlink("inside")
    os.rename("aside/inside", "inside")
"""
NOWHERE = ["/etc/passwd", "../outside/secret", "link/secret", "secret-link"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, Policy(limits=Limits(file_bytes=1 << 20)))
    (bench.outside / "secret").write_text("secret")
    (bench.work / "link").symlink_to(bench.outside)
    (bench.work / "secret-link").symlink_to(bench.outside / "secret")
    return bench


# Reading.


def test_a_file_is_read_whole_or_in_part(bench: Bench):
    (bench.work / "file").write_text("häh?")

    whole = bench.call(FileRead(), path="file")
    part = bench.call(FileRead(), path=str(bench.work / "file"), offset=3, limit=1)

    assert (whole.content, whole.size, whole.bytes, whole.artifact) == ("häh?", 5, 5, None)
    assert (part.content, part.size, part.bytes) == ("h", 5, 1)
    assert bench.call(FileRead(), path="file", offset=99).content == ""


def test_a_limit_does_not_cut_a_character_in_two(bench: Bench):
    (bench.work / "file").write_text("aé€")

    assert bench.call(FileRead(), path="file", limit=2).content == "a"
    assert bench.call(FileRead(), path="file", limit=5).bytes == 3


def test_bytes_that_are_no_text_are_read_as_base64(bench: Bench):
    (bench.work / "file").write_bytes(b"\xff\x00")

    with failing("decode_error", "byte 0", "base64"):
        bench.call(FileRead(), path="file")
    assert base64.b64decode(bench.call(FileRead(), path="file", encoding="base64").content) == b"\xff\x00"


@pytest.mark.parametrize("encoding", ["utf-8", "base64"])
@pytest.mark.parametrize("content", [b"x" * (INLINE_BYTES_MAX + 1), b"\x01" * INLINE_BYTES_MAX])
def test_what_is_too_large_for_a_result_is_an_artifact(bench: Bench, content: bytes, encoding: str):
    (bench.work / "file").write_bytes(content)

    result = bench.call(FileRead(), path="file", encoding=encoding)

    assert (result.content, result.bytes) == (None, len(content))
    assert bench.shelf.content(result.artifact) == content


def test_the_policy_limits_how_much_is_read(bench: Bench):
    (bench.work / "file").write_bytes(b"x" * ((1 << 20) + 1))

    with failing("too_large", "limits.file_bytes"):
        bench.call(FileRead(), path="file")
    assert bench.call(FileRead(), path="file", limit=1 << 20).artifact.bytes == 1 << 20


@pytest.mark.parametrize("path", NOWHERE)
def test_nothing_outside_is_read_or_looked_at(bench: Bench, path: str):
    with failing("denied", "folders.read"):
        bench.call(FileRead(), path=path)
    with failing("denied", "folders.read"):
        bench.call(FileStat(), path=path)


def test_what_is_no_file_is_not_read_and_does_not_block(bench: Bench):
    (bench.work / "folder").mkdir()
    (bench.work / "file").touch()
    os.mkfifo(bench.work / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(bench.work / "socket"))
        for path in (".", "folder", "fifo", "socket"):
            with failing("not_a_file"):
                bench.call(FileRead(), path=path)
    with failing("not_found", "missing"):
        bench.call(FileRead(), path="missing")
    with failing("not_a_folder"):
        bench.call(FileRead(), path="file/below")
    with failing("bad_arguments", "too long"):
        bench.call(FileRead(), path="x" * 300)


@pytest.mark.skipif(not os.path.exists("/sys/kernel"), reason="a folder that is closed even to root")
def test_what_the_system_closes_is_not_permitted(tmp_path: Path):
    bench = Bench(tmp_path, Policy(folders=Folders(write=("/sys/kernel",))))

    with failing("not_permitted", "/sys/kernel/file"):
        bench.call(FileWrite(), path="/sys/kernel/file", content="x")


def test_what_only_the_disk_can_help_may_work_another_time():
    with failing("io_failed", "the disk", retryable=True), told("the disk"):
        raise OSError(errno.EIO, "Input/output error")


def test_a_work_folder_that_is_not_there_is_not_found(bench: Bench):
    (bench.work / "link").unlink()
    (bench.work / "secret-link").unlink()
    bench.work.rmdir()

    with failing("not_found"):
        bench.call(FileRead(), path="file")


# Writing.


def test_a_file_is_written_and_keeps_its_permissions(bench: Bench):
    assert bench.call(FileWrite(), path="file", content="ä").bytes == 2
    os.chmod(bench.work / "file", 0o750)
    bench.call(FileWrite(), path="file", content="/wA=", encoding="base64")

    assert (bench.work / "file").read_bytes() == b"\xff\x00"
    assert stat.S_IMODE((bench.work / "file").stat().st_mode) == 0o750
    bench.call(FileWrite(), path="new", content="", mode=0o600)
    assert stat.S_IMODE((bench.work / "new").stat().st_mode) == 0o600
    assert {path.name for path in bench.work.iterdir()} == {"file", "new", "link", "secret-link"}


def test_an_artifact_is_written_as_it_is(bench: Bench):
    ref = bench.shelf.keep(b"\x00\xff" * 1000)

    bench.call(FileWrite(), path="file", artifact={"$artifact": ref.sha256, "bytes": ref.bytes})

    assert (bench.work / "file").read_bytes() == b"\x00\xff" * 1000


def test_folders_are_made_only_when_asked_for(bench: Bench):
    with failing("not_found", "a/b/file"):
        bench.call(FileWrite(), path="a/b/file", content="x")
    for _ in range(2):
        bench.call(FileWrite(), path="a/b/file", content="x", parents=True)

    assert (bench.work / "a" / "b" / "file").read_text() == "x"


def test_a_file_with_other_content_is_kept_without_overwrite(bench: Bench):
    for _ in range(2):
        bench.call(FileWrite(), path="file", content="x", overwrite=False)
    with failing("exists", "file"):
        bench.call(FileWrite(), path="file", content="y", overwrite=False)

    assert (bench.work / "file").read_text() == "x"


@pytest.mark.parametrize("path", NOWHERE)
def test_nothing_outside_is_written_or_deleted_through(bench: Bench, path: str):
    with failing("denied", "folders.write"):
        bench.call(FileWrite(), path=path, content="x")

    assert (bench.outside / "secret").read_text() == "secret"


def test_what_is_no_file_is_not_replaced(bench: Bench):
    (bench.work / "folder").mkdir()
    (bench.work / "file").touch()

    with failing("not_a_file"):
        bench.call(FileWrite(), path="folder", content="x")
    with failing("not_a_folder"):
        bench.call(FileWrite(), path="file/below", content="x", parents=True)
    with failing("denied", "stays as it is"):
        bench.call(FileWrite(), path=".", content="x")


def test_content_is_given_once_and_as_it_is_said_to_be(bench: Bench):
    ref = {"$artifact": "0" * 64, "bytes": (1 << 20) + 1}

    with failing("bad_arguments", "either"):
        bench.call(FileWrite(), path="file")
    with failing("bad_arguments", "either"):
        bench.call(FileWrite(), path="file", content="x", artifact=ref)
    with failing("decode_error", "base64"):
        bench.call(FileWrite(), path="file", content="?", encoding="base64")
    with failing("too_large", "limits.file_bytes"):
        bench.call(FileWrite(), path="file", artifact=ref)


# Looking and deleting.


def test_a_file_and_a_folder_are_looked_at(bench: Bench):
    (bench.work / "file").write_text("abc")
    os.utime(bench.work / "file", (1, 2))
    os.chmod(bench.work / "file", 0o640)

    found = bench.call(FileStat(), path="file")

    assert (found.kind, found.bytes, found.modified, found.mode) == ("file", 3, 2.0, 0o640)
    assert bench.call(FileStat(), path=".").kind == "folder"
    with failing("not_found"):
        bench.call(FileStat(), path="missing")


def test_deleting_twice_is_as_deleting_once(bench: Bench):
    (bench.work / "file").touch()

    assert bench.call(FileDelete(), path="file").deleted
    assert not bench.call(FileDelete(), path="file").deleted
    assert not bench.call(FileDelete(), path="no/such/file").deleted
    with failing("not_found"):
        bench.call(FileDelete(), path="file", missing_ok=False)


def test_a_link_is_deleted_and_not_what_it_leads_to(bench: Bench):
    bench.call(FileDelete(), path="secret-link")
    bench.call(FileDelete(), path="link", recursive=True)

    assert not list(bench.work.iterdir())
    assert (bench.outside / "secret").read_text() == "secret"
    with failing("denied", "folders.write"):
        bench.call(FileDelete(), path="../outside/secret")


def test_a_folder_goes_only_when_asked_for_and_the_work_folder_never(bench: Bench):
    (bench.work / "folder" / "below").mkdir(parents=True)
    (bench.work / "folder" / "below" / "link").symlink_to(bench.outside)

    with failing("not_a_file", "recursive"):
        bench.call(FileDelete(), path="folder")
    for path in (".", "folder/..", "folder/../"):
        with failing("denied", "stays as it is"):
            bench.call(FileDelete(), path=path, recursive=True)
    assert bench.call(FileDelete(), path="folder", recursive=True).deleted
    assert (bench.outside / "secret").exists()


def test_the_folder_of_the_key_is_not_deleted_with_one_around_it(bench: Bench):
    key = bench.work / "around" / "key"
    key.mkdir(parents=True)
    guard = Guard(Policy(), bench.work, keep_out=key)

    with failing("denied", "key"):
        FileDelete()._deleted(FileDelete.Arguments("around", True), guard.writable("around"))
    assert key.exists()


# Links that appear after the path was judged.


def test_a_link_put_in_the_place_of_a_folder_is_not_followed(bench: Bench):
    (bench.work / "folder").mkdir()
    (bench.work / "folder" / "secret").touch()
    below, itself = bench.guard.writable("folder/secret"), bench.guard.writable("folder")
    (bench.work / "folder" / "secret").unlink()
    (bench.work / "folder").rmdir()
    (bench.work / "folder").symlink_to(bench.outside)

    for opening in (regular_file(below), parent(below), parent(below, create=True), folder(itself)):
        with failing("denied", "become a link"), opening:
            pytest.fail("it was opened")


def test_a_link_put_in_the_place_of_the_file_itself_is_not_followed(bench: Bench):
    (bench.work / "file").touch()
    place = bench.guard.readable("file")
    (bench.work / "file").unlink()
    (bench.work / "file").symlink_to(bench.outside / "secret")

    with failing("denied", "become a link"), regular_file(place):
        pytest.fail("it was opened")


def test_a_folder_of_the_key_under_another_name_stays_closed(bench: Bench):
    (bench.work / "key").mkdir()
    guard = Guard(Policy(), bench.work, keep_out=bench.work / "key")
    place = guard.readable("other/file")
    (bench.work / "key").rename(bench.work / "other")
    (bench.work / "key").symlink_to("other")

    with failing("denied", "key"), regular_file(place):
        pytest.fail("it was opened")


def test_no_race_between_the_judgement_and_the_reading_leads_outside(bench: Bench):
    (bench.work / "inside").mkdir()
    (bench.work / "inside" / "secret").write_text("public")

    async def read_often() -> set[str]:
        outcomes = set()
        for _ in range(READS):
            try:
                outcomes.add((await bench.run(FileRead(), path="inside/secret")).content)
            except ToolFailed as exc:
                outcomes.add(exc.failure.code)
        return outcomes

    with subprocess.Popen([sys.executable, "-c", SWAPPER], cwd=bench.work, stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        outcomes = asyncio.run(read_often())
        swapper.kill()

    assert {"public", "denied"} <= outcomes <= {"public", "denied", "not_found", "not_a_folder"}


def test_separate_folders_for_reading_and_writing_hold_for_the_tools(tmp_path: Path):
    bench = Bench(tmp_path, Policy(folders=Folders(read=("in",), write=("out",))))
    (bench.work / "in").mkdir()
    (bench.work / "out").mkdir()
    (bench.work / "in" / "file").write_text("x")

    assert bench.call(FileRead(), path="in/file").content == "x"
    bench.call(FileWrite(), path="out/file", content="x")
    with failing("denied", "folders.read"):
        bench.call(FileRead(), path="out/file")
    with failing("denied", "folders.write"):
        bench.call(FileDelete(), path="in/file")


def test_a_reference_to_an_artifact_looks_the_same_in_arguments_and_results(bench: Bench):
    (bench.work / "file").write_bytes(b"\x00" * 100_000)

    ref = bench.call(FileRead(), path="file", encoding="base64").artifact

    assert ref == ArtifactRef(ref.sha256, 100_000)
    bench.call(FileWrite(), path="copy", artifact={"$artifact": ref.sha256, "bytes": ref.bytes})
    assert (bench.work / "copy").read_bytes() == b"\x00" * 100_000
