"""Logs from their end, and systemd's where this machine has it."""

from pathlib import Path

import pytest

from device_agents.tools.server.logs import READ_BYTES_MAX, LogJournal, LogTail, ServiceStatus

from ..bench import Bench, failing
from .examples import no_systemd


@pytest.fixture
def log(bench: Bench) -> Path:
    path = bench.work / "x.log"
    path.write_text("".join(f"line {n}\n" for n in range(10)), "utf-8")
    return path


def test_the_last_lines_come_with_where_to_go_on(bench: Bench, log: Path):
    first = bench.call(LogTail(), path="x.log", lines=2)
    with log.open("a", encoding="utf-8") as file:
        file.write("line 10\nhalf a li")
    second = bench.call(LogTail(), path="x.log", since=first.end)

    assert (first.lines, first.truncated) == (["line 8", "line 9"], True)
    assert (second.lines, second.truncated) == (["line 10"], False)
    assert bench.call(LogTail(), path="x.log", since=second.end).lines == []


def test_only_lines_that_contain_a_text_count(bench: Bench, log: Path):
    assert bench.call(LogTail(), path="x.log", contains="LINE 7").lines == ["line 7"]


def test_a_log_that_was_begun_anew_is_read_from_its_start(bench: Bench, log: Path):
    end = bench.call(LogTail(), path="x.log").end
    log.write_text("new\n", "utf-8")

    told = bench.call(LogTail(), path="x.log", since=end)

    assert (told.lines, told.rotated) == (["new"], True)


def test_of_a_huge_log_only_the_end_is_read(bench: Bench):
    with (bench.work / "x.log").open("wb") as file:
        file.truncate(READ_BYTES_MAX * 4)
        file.seek(0, 2)
        file.write(b"\nthe last\n")

    told = bench.call(LogTail(), path="x.log", lines=1)

    assert (told.lines, told.truncated) == (["the last"], True)


def test_a_machine_without_systemd_says_so(bench: Bench, tmp_path: Path):
    import asyncio

    with failing("unavailable", "no journal"):
        asyncio.run(LogJournal(str(tmp_path)).probe(bench.guard))
    if no_systemd():
        with failing("unavailable", "systemd"):
            asyncio.run(ServiceStatus().probe(bench.guard))
