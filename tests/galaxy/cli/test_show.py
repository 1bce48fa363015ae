"""Tables for people: what is in them, and what no word of a device can do to a terminal."""

import io
from typing import Any

import pytest
from rich.console import RenderableType

from galaxy.cli import show
from galaxy.cli.plain import plain, plain_json
from galaxy.cli.progress import Watched
from tests.galaxy.cli.test_progress import picture, star, watched

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m [bold]x[/bold] [/oops] :smile: \u202egnp.exe\r"


def printed(*things: RenderableType) -> str:
    out = show.PlainConsole(file=io.StringIO(), width=200, highlight=False, markup=False, emoji=False)
    for thing in things:
        out.print(thing)
    text = out.file.getvalue()
    assert isinstance(text, str)
    return text


def test_a_summary_shows_each_star_with_what_came_of_it():
    attempts = [{"number": 1, "device": "laptop", "ran_s": 0.25}]
    done = star("a", state="succeeded", result={"stdout": "first\nlast\n"}, attempts=attempts)
    failed = star("b", state="failed", result=None, failure={"message": "broken"}, attempts=attempts)
    text = printed(show.summary_table(picture(done, failed, star("c", result=None))))

    rows = [[cell.strip() for cell in line.split("\u2502")[1:-1]] for line in text.splitlines() if "\u2502" in line]
    assert rows == [
        ["\u25cf", "a", "succeeded", "laptop", "1", "0.25 s", "last"],
        ["\u2717", "b", "failed", "laptop", "1", "0.25 s", "broken"],
        ["\u00b7", "c", "waiting", "", "", "", ""],
    ]
    assert "the plan: running" in text


@pytest.mark.parametrize(
    ("result", "short"),
    [
        ("x" * 100, "x" * 59 + "\u2026"),
        ({"stdout": "  "}, '{"stdout": "  "}'),
        ({"stdout": 7}, '{"stdout": 7}'),
        ([1, "\u00e9"], '[1, "\u00e9"]'),
        (None, "null"),
    ],
)
def test_a_result_is_shown_short(result: Any, short: str):
    done = star("a", state="succeeded", result=result, attempts=[])

    assert short in printed(show.summary_table(picture(done)))


def test_of_many_stars_those_are_shown_that_have_something_to_tell():
    many = [star(f"s{n}", state="succeeded") for n in range(100)]
    seen = watched(*many, star("broken", state="failed"), star("busy", state="running"))
    text = printed(show.progress_table(seen))

    assert [word in text for word in ("broken", "busy", "s1 ")] == [True, True, False]
    assert "101 of 102 have ended" in text


def test_no_word_of_others_commands_the_terminal_or_is_taken_for_markup():
    evil = star(EVIL, state="failed", failure={"message": EVIL}, result=EVIL)
    done = star(EVIL, state="succeeded", result=EVIL)
    seen = Watched("c")
    seen.look({**picture(evil), "name": EVIL})
    text = printed(
        show.summary_table({**picture(evil, done), "name": EVIL}),
        show.progress_table(seen),
        show.listing(("x",), [[EVIL]]),
        EVIL,
    )

    assert not set(text) & set("\x1b\x07\x9b\u202e\r")
    assert text.count("[bold]x[/bold] [/oops] :smile:") >= 6


def test_a_json_document_holds_no_controls_and_says_the_same():
    import json

    text = plain_json(json.dumps({EVIL: [EVIL]}, ensure_ascii=False))

    assert json.loads(text) == {EVIL: [EVIL]}
    assert not set(text) & set("\x1b\x07\x9b\u202e\r")


def test_plain_words_stay_as_they_are():
    assert plain("two\nlines,\ta tab, \u00fc and \U0001f600") == "two\nlines,\ta tab, \u00fc and \U0001f600"


def test_a_line_that_is_piped_is_not_folded(capsys: pytest.CaptureFixture[str]):
    show.console().print(show.listing(("id",), [["x" * 300]]))

    assert "x" * 300 in capsys.readouterr().out


def test_where_there_is_no_terminal_lines_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]):
    with show.live(show.console(), watched()) as tell:
        tell("a: attempt 1 on laptop")
        tell("")
        tell("[/oops] " + "y" * 300)

    assert capsys.readouterr().out.splitlines() == ["a: attempt 1 on laptop", "[/oops] " + "y" * 300]


def test_a_time_that_is_not_there_is_shown_as_nothing():
    assert show.clock(None) == ""
    assert show.clock(1_000_000.0).startswith("1970-01-1")


def test_a_person_who_waits_sees_for_what_and_for_how_long_and_a_program_sees_nothing():
    told = []
    for terminal in (True, False):
        out = show.PlainConsole(file=io.StringIO(), width=200, force_terminal=terminal, force_interactive=terminal)
        with show.waiting(out, f"the model is asked {EVIL}"):
            pass
        told.append(out.file.getvalue())

    assert "the model is asked" in told[0]
    assert "0:00:00" in told[0]
    assert "owned\x07" not in told[0]
    assert told[1] == ""
