"""Listing folders and searching through files: what is found, where it ends, and what is left alone."""

import asyncio
import os
from pathlib import Path

import pytest

from device_agents.guard import Guard, Limits, Policy
from device_agents.tools.folders import FileList, Walk
from device_agents.tools.search import SEARCHED_FILE_BYTES_MAX, FileSearch, Match

from .bench import Bench, failing

CATASTROPHE = "(a|a)*b"  # takes forever on a line of many a


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path, Policy(limits=Limits(timeout_s=60)))
    (bench.outside / "secret").write_text("needle")
    for path, text in {"b.txt": "one\nneedle 1\n", "a.py": "needle 2", "sub/c.txt": "NEEDLE 3\r\nx"}.items():
        (bench.work / path).parent.mkdir(exist_ok=True)
        (bench.work / path).write_text(text)
    (bench.work / "link").symlink_to(bench.outside)
    (bench.work / "secret").symlink_to(bench.outside / "secret")
    return bench


def paths(result: FileList.Result) -> list[str]:
    return [entry.path for entry in result.entries]


# Listing.


def test_a_folder_is_listed_by_name_with_links_as_links(bench: Bench):
    result = bench.call(FileList())

    assert [(entry.path, entry.kind) for entry in result.entries] == [
        ("a.py", "file"),
        ("b.txt", "file"),
        ("link", "link"),
        ("secret", "link"),
        ("sub", "folder"),
    ]
    assert (result.truncated, result.unreadable, result.entries[0].bytes) == (False, 0, 8)


def test_a_recursive_listing_stays_inside_and_a_pattern_chooses(bench: Bench):
    assert paths(bench.call(FileList(), recursive=True))[-1] == "sub/c.txt"
    assert paths(bench.call(FileList(), recursive=True, glob="*.txt")) == ["b.txt", "sub/c.txt"]
    assert paths(bench.call(FileList(), recursive=True, glob="sub/*")) == ["sub/c.txt"]


def test_a_listing_ends_at_its_limit_and_at_what_a_result_holds(bench: Bench):
    assert bench.call(FileList(), limit=5).truncated is False
    assert (paths(bench.call(FileList(), limit=1)), bench.call(FileList(), limit=1).truncated) == (["a.py"], True)
    for number in range(900):
        (bench.work / "sub" / f"{number:0200}").touch()

    result = bench.call(FileList(), path="sub", limit=1000)

    assert result.truncated
    assert 100 < len(result.entries) < 900


def test_a_walk_ends_after_so_many_visits(bench: Bench):
    walk = Walk(bench.guard.readable("."), recursive=True, visits_max=2)

    assert len(list(walk.entries())) == 3
    assert walk.truncated


def test_a_name_that_is_no_text_is_shown_as_well_as_it_can_be(bench: Bench):
    (bench.work / "sub" / os.fsdecode(b"\xff.txt")).write_text("needle")

    assert paths(bench.call(FileList(), path="sub", glob="\ufffd*")) == []
    assert paths(bench.call(FileList(), path="sub"))[-1] == "\ufffd.txt"
    assert bench.call(FileSearch(), pattern="needle", path="sub").matches == [Match("\ufffd.txt", 1, "needle")]


def test_only_folders_that_are_there_and_open_are_listed(bench: Bench):
    with failing("not_found"):
        bench.call(FileList(), path="missing")
    with failing("not_a_folder"):
        bench.call(FileList(), path="a.py")
    for path in ("..", "link", "/etc"):
        with failing("denied", "folders.read"):
            bench.call(FileList(), path=path)


def test_the_folder_of_the_key_is_passed_over(bench: Bench):
    guard = Guard(Policy(), bench.work, keep_out=bench.work / "sub")
    walk = Walk(guard.readable("."), recursive=True)

    assert ("sub", "c.txt") not in [entry.parts for entry in walk.entries()]
    assert walk.unreadable == 1


# Searching.


def test_lines_with_a_text_are_found_in_files_below_and_not_behind_links(bench: Bench):
    result = bench.call(FileSearch(), pattern="needle")

    assert result.matches == [Match("a.py", 1, "needle 2"), Match("b.txt", 2, "needle 1")]
    assert (result.files, result.skipped, result.truncated) == (3, 0, False)


def test_a_search_may_ignore_case_and_choose_files(bench: Bench):
    result = bench.call(FileSearch(), pattern="needle", ignore_case=True, glob="*.txt")

    assert result.matches == [Match("b.txt", 2, "needle 1"), Match("sub/c.txt", 1, "NEEDLE 3")]


def test_a_text_is_no_expression_unless_it_is_called_one(bench: Bench):
    assert bench.call(FileSearch(), pattern="n.*1").matches == []
    assert bench.call(FileSearch(), pattern="^n.*1$", regex=True).matches == [Match("b.txt", 2, "needle 1")]
    with failing("bad_pattern", "unterminated"):
        bench.call(FileSearch(), pattern="(", regex=True)


def test_a_pattern_that_never_ends_is_ended(bench: Bench):
    (bench.work / "long").write_text("a" * 100)

    with failing("timeout", "0.5 s"):
        bench.call(FileSearch(), pattern=CATASTROPHE, regex=True, timeout_s=0.5)


def test_a_pattern_that_never_ends_leaves_the_loop_free_and_can_be_cancelled(bench: Bench):
    (bench.work / "long").write_text("a" * 100)

    async def cancelled() -> None:
        async with asyncio.timeout(0.5):
            await bench.run(FileSearch(), pattern=CATASTROPHE, regex=True, timeout_s=50)

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())


def test_a_pattern_that_takes_too_much_memory_is_refused(bench: Bench):
    (bench.work / "long").write_text("a" * (SEARCHED_FILE_BYTES_MAX - 1))

    with failing("bad_pattern", "memory"):
        bench.call(FileSearch(), pattern="^(?:(a)|b)*c", regex=True)


def test_matches_end_at_their_limit_and_at_what_a_result_holds(bench: Bench):
    (bench.work / "many").write_text(("needle" + "é" * 1000 + "\n") * 300)

    few = bench.call(FileSearch(), pattern="needle", limit=2)
    many = bench.call(FileSearch(), pattern="needle", limit=1000)

    assert (len(few.matches), few.truncated) == (2, True)
    assert many.truncated
    assert 30 < len(many.matches) < 300
    assert len(many.matches[-1].text) == 500


def test_files_that_are_no_text_or_too_large_are_skipped(bench: Bench):
    (bench.work / "binary").write_bytes(b"needle\0")
    with (bench.work / "large").open("wb") as file:
        file.truncate(SEARCHED_FILE_BYTES_MAX + 1)

    result = bench.call(FileSearch(), pattern="needle")

    assert (len(result.matches), result.files, result.skipped) == (2, 3, 2)


def test_a_search_stays_within_the_policy(bench: Bench):
    with failing("denied", "folders.read"):
        bench.call(FileSearch(), pattern="needle", path="link")
    with failing("denied", "limits.timeout_s"):
        bench.call(FileSearch(), pattern="needle", timeout_s=61)
    with failing("not_found"):
        bench.call(FileSearch(), pattern="needle", path="missing")
