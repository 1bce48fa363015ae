"""The outbox: what is on disk when, and what is there after kill -9, a full disk, a damaged file."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from device_agents.outbox import FORGET_BATCH, JOURNAL_KEPT_S, PRUNE_EVERY_S, Outbox, OutboxFailed
from protocol.vocabulary import Outcome

from .helpers import full_disk, succeeded

A, B = "c/a#1", "c/b#1"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@contextmanager
def opened(path: Path, now: float = 0.0) -> Iterator[Outbox]:
    with closing(Outbox(path, now=now)) as outbox:
        yield outbox


def killed_after(path: Path, words: str, script: str) -> list[str]:
    """Run the script in a process of its own, kill -9 it when it has said these words, and return all it said."""
    program = f"""
import sys, time
from pathlib import Path
from device_agents.outbox import Outbox
from tests.device_agents.helpers import succeeded

def say(words):
    print(words, flush=True)

outbox = Outbox(Path({str(path)!r}), now=0.0)
{script}
say("the end")
time.sleep(60)
"""
    said = []
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.strip())
            if said[-1] == words:
                process.kill()
    return said


def test_what_was_kept_is_there_when_the_file_is_opened_again(path):
    with opened(path) as outbox:
        outbox.keep([(succeeded(A), False), (succeeded(B), False)])

    with opened(path) as outbox:
        assert outbox.reports() == [succeeded(A), succeeded(B)]
        assert (outbox.unknown(), outbox.completed(A)) == ([], None)


def test_an_intent_is_unknown_until_its_report_is_kept(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0)
        outbox.intend(B, 0.0)
        outbox.keep([(succeeded(B), True)])

    with opened(path) as outbox:
        assert (outbox.unknown(), outbox.completed(A)) == ([A], None)
        assert (outbox.completed(B), outbox.reports()) == (succeeded(B), [succeeded(B)])


def test_a_second_intent_does_not_undo_a_completion(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0)
        outbox.keep([(succeeded(A), True)])
        outbox.intend(A, 1.0)

        assert (outbox.unknown(), outbox.completed(A)) == ([], succeeded(A))


def test_a_completion_is_known_after_its_report_was_forgotten(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0)
        outbox.keep([(succeeded(A), True)])
        outbox.forget([A])

    with opened(path) as outbox:
        assert (outbox.reports(), outbox.completed(A)) == ([], succeeded(A))


@pytest.mark.parametrize(
    ("write", "synchronous"),
    [
        (lambda outbox: outbox.intend(A, 0.0), "FULL"),
        (lambda outbox: outbox.keep([(succeeded(A), False)]), "NORMAL"),
        (lambda outbox: outbox.keep([(succeeded(A), False), (succeeded(B), True)]), "FULL"),
        (lambda outbox: (outbox.forget([A]), outbox.flush()), "NORMAL"),
    ],
)
def test_what_may_not_be_repeated_is_written_through_a_power_cut_and_nothing_else(path, write, synchronous):
    with opened(path) as outbox:
        statements: list[str] = []
        outbox._db.set_trace_callback(statements.append)  # what reaches the disk's driver cannot be seen from here
        write(outbox)

        assert statements[0] == f"PRAGMA synchronous={synchronous}"
        assert outbox._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_reports_of_one_moment_share_one_transaction(path):
    with opened(path) as outbox:
        statements: list[str] = []
        outbox._db.set_trace_callback(statements.append)
        outbox.keep([(succeeded(f"c/s#{n}"), n == 7) for n in range(100)])

        assert [statements.count(word) for word in ("BEGIN IMMEDIATE", "COMMIT")] == [1, 1]


def test_an_agent_that_is_killed_between_intent_and_completion_leaves_an_unknown(path):
    killed_after(path, "intended", f'outbox.intend({A!r}, 0.0); say("intended"); time.sleep(60)')

    with opened(path) as outbox:
        assert (outbox.unknown(), outbox.reports()) == ([A], [])


def test_an_agent_that_is_killed_loses_nothing_that_it_had_kept(path):
    script = """
for n in range(10_000):
    outbox.intend(f"c/s#{n}", 0.0)
    outbox.keep([(succeeded(f"c/s#{n}"), True), (succeeded(f"c/pure#{n}"), False)])
    say(n)
"""
    said = killed_after(path, "50", script)

    with opened(path) as outbox:
        there = {report.attempt for report in outbox.reports()}
        assert there >= {f"c/{star}#{n}" for n in said for star in ("s", "pure")}
        assert len(outbox.unknown()) <= 1, "the one that was under way"
        assert {f"c/s#{n}" for n in said} & set(outbox.unknown()) == set()


def test_what_is_forgotten_is_gone_at_once_for_whoever_asks(path):
    with opened(path) as outbox:
        outbox.keep([(succeeded(A), False), (succeeded(B), False)])
        outbox.forget([A])

        assert outbox.reports() == [succeeded(B)]


def test_what_is_forgotten_leaves_the_disk_with_the_next_write(path):
    killed_after(
        path,
        "the end",
        f"""
outbox.keep([(succeeded({A!r}), False)])
outbox.forget([{A!r}])
outbox.keep([(succeeded({B!r}), False)])
""",
    )

    with opened(path) as outbox:
        assert outbox.reports() == [succeeded(B)]


def test_what_was_forgotten_only_in_memory_is_there_again_after_a_kill(path):
    killed_after(path, "the end", f"outbox.keep([(succeeded({A!r}), False)]); outbox.forget([{A!r}])")

    with opened(path) as outbox:
        assert outbox.reports() == [succeeded(A)]


def test_a_crowd_of_forgotten_reports_is_written_without_being_asked(path):
    crowd = [f"c/s#{n}" for n in range(FORGET_BATCH)]
    with opened(path) as outbox:
        outbox.keep([(succeeded(attempt), False) for attempt in crowd])
        outbox.forget(crowd)

        with opened(path) as beside:
            assert beside.reports() == []


def test_a_report_that_was_forgotten_and_is_kept_anew_stays(path):
    with opened(path) as outbox:
        outbox.keep([(succeeded(A), False)])
        outbox.forget([A])
        outbox.keep([(succeeded(A, b"2"), False)])

        assert outbox.reports() == [succeeded(A, b"2")]


def test_the_journal_forgets_completed_calls_after_a_week_and_open_ones_never(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0)
        outbox.intend(B, 0.0)
        outbox.keep([(succeeded(A), True)])
        outbox.forget([A])

    with opened(path, now=JOURNAL_KEPT_S) as outbox:
        assert outbox.completed(A) == succeeded(A)
    with opened(path, now=JOURNAL_KEPT_S + 1) as outbox:
        assert (outbox.completed(A), outbox.unknown()) == (None, [B])


def test_the_journal_of_an_agent_that_runs_for_months_does_not_grow_for_ever(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0)
        outbox.keep([(succeeded(A), True)])
        outbox.intend(B, JOURNAL_KEPT_S + PRUNE_EVERY_S)

        assert outbox.completed(A) is None


def test_a_write_that_fails_changes_nothing_and_the_next_one_works(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0)
        outbox.keep([(succeeded(B), False)])
        outbox.forget([B])

        with full_disk():
            intend, keep = lambda: outbox.intend("c/c#1", 0.0), lambda: outbox.keep([(succeeded(A), True)])
            for write in (intend, keep, outbox.flush):
                with pytest.raises(OutboxFailed, match=str(path)):
                    write()
            assert (outbox.unknown(), outbox.completed(A)) == ([A], None)

        outbox.keep([(succeeded(A), True)])
        assert (outbox.unknown(), outbox.completed(A), outbox.reports()) == ([], succeeded(A), [succeeded(A)])


def test_a_full_disk_does_not_keep_an_outbox_from_being_closed(path):
    outbox = Outbox(path, now=0.0)
    outbox.keep([(succeeded(A), False)])
    outbox.forget([A])

    with full_disk(), pytest.raises(OutboxFailed):
        outbox.close()

    with opened(path) as outbox:
        assert outbox.reports() == [succeeded(A)]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path):
    path.write_bytes(b"no database at all" * 100)

    with pytest.raises(OutboxFailed, match=r"outbox\.db: file is not a database"):
        Outbox(path, now=0.0)

    assert path.read_bytes() == b"no database at all" * 100


def test_a_damaged_report_is_told_and_not_dropped(path):
    with opened(path) as outbox:
        outbox.keep([(succeeded(A), False)])
        outbox._db.execute("UPDATE reports SET body = X'7B'")

        with pytest.raises(OutboxFailed, match="truncated"):
            outbox.reports()


def test_a_folder_where_nothing_can_be_made_is_told(tmp_path):
    with pytest.raises(OutboxFailed, match="unable to open"):
        Outbox(tmp_path / "missing" / "outbox.db", now=0.0)


# Attempts that go in steps.


def test_steps_are_there_with_how_they_ended_until_their_attempt_is_kept(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0, in_steps=True)
        outbox.intend(B, 0.0)
        assert (outbox.unknown(), outbox.steps(A), outbox.steps(B)) == ([A, B], (), None)
        outbox.begin_step(A, 1, "shell.run")
        outbox.end_step(A, 1, Outcome.SUCCEEDED)
        outbox.begin_step(A, 4, "http.request")

    with opened(path) as outbox:
        assert outbox.steps(A) == ((1, "shell.run", "succeeded"), (4, "http.request", ""))
        outbox.keep([(succeeded(A), True)])
        assert (outbox.steps(A), outbox.completed(A), outbox.unknown()) == (None, succeeded(A), [B])


def test_a_step_is_begun_only_once_whatever_happens(path):
    with opened(path) as outbox:
        outbox.intend(A, 0.0, in_steps=True)
        outbox.begin_step(A, 1, "shell.run")
        with pytest.raises(OutboxFailed):
            outbox.begin_step(A, 1, "shell.run")


@pytest.mark.parametrize(
    "write",
    [
        lambda outbox: outbox.intend(A, 0.0, in_steps=True),
        lambda outbox: outbox.begin_step(A, 1, "shell.run"),
        lambda outbox: outbox.end_step(A, 1, Outcome.SUCCEEDED),
    ],
)
def test_what_is_written_about_steps_survives_a_power_cut(path, write):
    with opened(path) as outbox:
        statements: list[str] = []
        outbox._db.set_trace_callback(statements.append)
        write(outbox)

        assert statements[0] == "PRAGMA synchronous=FULL"


def test_an_agent_that_is_killed_within_a_step_leaves_it_without_an_end(path):
    script = f"""
outbox.intend({A!r}, 0.0, in_steps=True)
outbox.begin_step({A!r}, 1, "shell.run")
say("begun")
time.sleep(60)
"""
    killed_after(path, "begun", script)

    with opened(path) as outbox:
        assert (outbox.unknown(), outbox.steps(A)) == ([A], ((1, "shell.run", ""),))


def test_an_outbox_of_an_older_agent_learns_about_steps(path):
    with opened(path) as outbox:
        outbox._db.execute("DROP TABLE steps")
        outbox.intend(A, 0.0)

    with opened(path) as outbox:
        assert (outbox.unknown(), outbox.steps(A)) == ([A], None)


def test_a_file_has_a_name_that_stays_and_that_no_other_has(tmp_path: Path):
    names = []
    for file in ("one.db", "one.db", "two.db"):
        with closing(Outbox(tmp_path / file, now=0.0)) as outbox:
            names.append(outbox.journal)

    assert names[0] == names[1] != names[2]
