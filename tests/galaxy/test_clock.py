"""The node's clock: what a wall clock that is set makes of it, which is nothing."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from galaxy.clock import ANCHOR_FILE, Machine, clock, this_machine


@dataclass
class Time:
    """A machine's time, to be moved by hand."""

    boot: str = "boot-1"
    passed: float = 0.0
    set_by: float = 0.0

    def machine(self) -> Machine:
        return Machine(
            self.boot, lambda: self.passed, lambda: 1_000_000.0 + self.passed + self.set_by, lambda: self.passed
        )


@pytest.mark.parametrize("jump", [-600.0, 600.0])
def test_a_wall_clock_that_is_set_by_minutes_moves_nothing(tmp_path: Path, jump: float):
    time = Time()
    now = clock(tmp_path, 0.0, time.machine())
    assert now() == 1_000_000.0
    time.passed, time.set_by = 10.0, jump
    assert now() == 1_000_010.0, "while the node runs"

    time.passed = 30.0
    again = clock(tmp_path, now(), time.machine())
    assert again() == 1_000_030.0, "nor between two runs"


def test_after_a_start_of_the_machine_the_walls_time_counts(tmp_path: Path):
    time = Time()
    clock(tmp_path, 0.0, time.machine())
    time.boot, time.passed, time.set_by = "boot-2", 5.0, 300.0

    assert clock(tmp_path, 0.0, time.machine())() == 1_000_305.0


def test_a_wall_clock_that_was_wrong_by_years_is_believed_once_it_is_set(tmp_path: Path):
    time = Time(set_by=-1e6)
    clock(tmp_path, 0.0, time.machine())
    time.passed, time.set_by = 60.0, 0.0

    assert clock(tmp_path, 0.0, time.machine())() == 1_000_060.0


def test_no_clock_is_before_what_is_recorded_already(tmp_path: Path):
    assert clock(tmp_path, 2_000_000.0, Time().machine())() == 2_000_000.0


@pytest.mark.parametrize("content", [b"", b"{", b'{"boot": 3}'])
def test_an_anchor_that_cannot_be_read_or_kept_is_done_without(tmp_path: Path, content: bytes):
    (tmp_path / ANCHOR_FILE).write_bytes(content)
    assert clock(tmp_path, 0.0, Time().machine())() == 1_000_000.0
    assert clock(tmp_path / "missing", 0.0, Time().machine())() == 1_000_000.0


def test_a_machine_that_cannot_tell_its_starts_apart_goes_by_the_wall(tmp_path: Path):
    time = Time(boot="")
    clock(tmp_path, 0.0, time.machine())
    time.set_by = 60.0

    assert clock(tmp_path, 0.0, time.machine())() == 1_000_060.0
    assert this_machine().up_s() >= 0.0
