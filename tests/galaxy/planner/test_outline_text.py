"""Reading outlines in Markdown: what is read, and where each mistake is."""

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from galaxy.planner.outline import parsed
from galaxy.planner.outline_text import parsed_text
from galaxy.planner.steps import Mark, Mixed, Outline, OutlineError, Reference

WORDS = re.split(
    r"\s+",
    r"""1. 2. - * Title: @laptop [a=b] file.read do with "text" path=notes x={1} y={X/p} z={{1}} {"a": [1]}
    {"$from": 1} after if gives `result` fails succeeds ends for each X in step 2 /items or else retry 3
    within 30s needs approval , answer: # steps: - tool: { } [ ] " ` = @ : 0 -1 1e999 NaN \\ud800 ~2 é""",
)


def arguments(text: str) -> Any:
    return parsed_text(f"1. a\n2. b\n3. c {text} for each X in step 1").steps[2].call.arguments


def refused(text: str) -> str:
    with pytest.raises(OutlineError) as caught:
        parsed_text(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("x=1", 1),
        ("x=-2.5e3", -2500.0),
        ("x=true", True),
        ("x=null", None),
        ("x=007", "007"),
        ("x=NaN", "NaN"),
        ("x=1e999", "1e999"),
        ("x=18446744073709551616", "18446744073709551616"),
        ("x=https://example.org:80/?q=1#top", "https://example.org:80/?q=1#top"),
        ('x="1"', "1"),
        ('x="two words"', "two words"),
        ('x=[1, "b"]', [1, "b"]),
        ('x={"y": {}}', {"y": {}}),
        ('{"x": [\n   1]}', [1]),
        ("x={{2}}", "{2}"),
        ("x=\"awk '{print $1}'\"", "awk '{print $1}'"),
        ('x="{}"', "{}"),
        ('x="${{X}}"', "${X}"),
    ],
)
def test_a_value_is_json_or_else_text(written: str, value: Any):
    assert arguments(written) == {"x": value}


def test_references_stand_for_whole_values_and_items_also_within_texts():
    assert arguments('x={2} y=[{"$from": 2, "pointer": "/b"}, "{2/c d}"] z="{X}.{X/e}"') == {
        "x": Reference("2", "", Mark(3, 8)),
        "y": [Reference("2", "/b", Mark(3, 16)), Reference("2", "/c d", Mark(3, 47))],
        "z": Mixed((Reference("X", "", Mark(3, 60)), ".", Reference("X", "/e", Mark(3, 64)))),
    }


@pytest.mark.parametrize(
    ("text", "title", "tool"),
    [
        ("1. Fetch the page: a", "Fetch the page", "a"),
        ("7) At 10:30, call x://y: a", "At 10:30, call x://y", "a"),
        ("-  Over\n   two lines:\n   a", "Over two lines", "a"),
        ("* a", "", "a"),
        ('1. a x="b: c"', "", "a"),
        ("prose: first\n\n# Title\n1. a:b", "", "a:b"),
    ],
)
def test_a_title_ends_at_a_colon_before_a_blank(text: str, title: str, tool: str):
    step = parsed_text(text).steps[0]

    assert (step.title, step.call.tool) == (title, tool)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1. a\n2) b\n2. c", "line 3, column 1: there is a step 2 already: give each step a number of its own"),
        ("1. a\n- b", "line 2, column 1: numbers and bullets are mixed: number all steps, as in `1.`, or none"),
        ("0. a", "line 1, column 1: steps are counted from 1: write `1.`"),
        ("hello", "line 1, column 6: there are no steps: write a line such as `1. system.info`"),
        (
            "1. a\nb",
            (
                "line 2, column 1: this belongs to no step: indent it by two spaces, begin a step with "
                "it, or move it to the top"
            ),
        ),
        (
            "1. a\n# b\n  c",
            (
                "line 3, column 1: this belongs to no step: indent it by two spaces, begin a step with "
                "it, or move it to the top"
            ),
        ),
        (
            "1. a x",
            (
                "line 1, column 6: 'x' is not understood here: write key=value, or one of after 2; if 2 "
                "fails; for each X in step 2; or else tool; retry 2; within 30s; needs approval"
            ),
        ),
        ("1. Title:", ("line 1, column 10: a tool's name is missing: write a call such as `file.read path=notes.txt`")),
        ("1. : a", ("line 1, column 4: a title without words: write `Title:` before the tool, or leave the colon out")),
        ("1. a after 1", ("line 1, column 12: step 1 refers to itself: name a step above it, of which there is none")),
        (
            "1. a after 2\n2. b",
            (
                "line 1, column 12: step 2 stands below this one: move it up, or name a step above, of "
                "which there is none"
            ),
        ),
        ("1. a\n2. b x={3}", "line 2, column 8: there is no step 3: name a step above (1)"),
        ('1. a\n2. b {"x": ["{9/y}"]}', "line 2, column 14: there is no step 9: name a step above (1)"),
        ("1. a if fails", "line 1, column 6: there is no step before the first one: leave this out"),
        ("1. a\n2. b after 1 if 1 fails", "line 2, column 14: step 1 is waited for twice: say once how it must end"),
        (
            "1. a\n2. b x={1} if fails",
            ("line 2, column 8: this needs the result of step 1, which has none if it fails: write `after 1`"),
        ),
        (
            "1. a\n2. b for each X in step 1\n3. c for each Y in step 2",
            ("line 3, column 6: step 2 is a loop itself, and loops are not nested: loop over a step that runs once"),
        ),
        (
            "1. a\n2. b for each X in step 1\n3. c if fails",
            ("line 3, column 6: step 2 is a step for each item, and all would have to fail: write `if 2 ends`"),
        ),
        (
            "1. a x={Y}",
            ("line 1, column 8: nothing is called Y, there is no loop here: for the text itself write {{Y}}"),
        ),
        (
            '1. a\n2. b x="got {1}"',
            (
                "line 2, column 13: a result cannot stand within a text: make {1} the whole value, or "
                "write {{1}} for the text itself"
            ),
        ),
        (
            '1. a\n2. do "{1}"',
            ("line 2, column 4: an instruction is words: give it the result as an input, as in `from={1}`"),
        ),
        ('1. do ""', 'line 1, column 4: an instruction without words: write `do "tidy up"`'),
        ("1. do it", ('line 1, column 7: what is to be done stands in quotes: write `do "tidy up" with file.list`')),
        (
            '1. a {"x": }',
            (
                'line 1, column 12: this is not JSON (Expecting value): write it as in {"path": '
                '"notes.txt", "limit": 10}'
            ),
        ),
        (
            '1. a {"x": 1, "x": 2}',
            (
                "line 1, column 6: this is not JSON (a key stands twice in an object): write it as in "
                '{"path": "notes.txt", "limit": 10}'
            ),
        ),
        ("1. a x= 1", "line 1, column 8: x has no value: write `x=value`, without blanks around the ="),
        ('1. a x="1"2', "line 1, column 11: something follows the value at once: write a blank between them"),
        ("1. a x=1 x=2", "line 1, column 10: argument x stands twice: write it once"),
        (
            '1. a\n2. b x={"$from": "s1"}',
            (
                'line 2, column 9: this is not a reference: write {"$from": 2, "pointer": "/x"}, with '
                "the number of a step"
            ),
        ),
        (
            '1. a\n2. b x={"$from": 1, "pointer": "y"}',
            (
                "line 2, column 9: 'y' is not a JSON pointer: it must be empty or begin with /: write it "
                "as in /items/0/name"
            ),
        ),
        ("1. a @laptop", "line 1, column 6: devices and labels stand before the tool: write `@laptop system.info`"),
        ("1. @a @b c", "line 1, column 7: one device may be named, by its name: write `@laptop`"),
        ("1. [zone] a", "line 1, column 4: this is not a label: write `[zone=home]`"),
        ("1. a\n2. b for each", "line 2, column 14: a loop needs a variable: write `for each X in step 2 /items`"),
        ("1. a\n2. b for each X of", "line 2, column 17: a loop needs a list: write `for each X in step 2 /items`"),
        (
            '1. a {"$from": 1}',
            'line 1, column 4: arguments are an object: write `{"path": {"$from": 2}}` or `path={2}`',
        ),
        ('1. a x=b"c"', 'line 1, column 8: quotes within a word: write `x="..."` with all of it in them'),
        ("1. a\n2. b after 0", "line 2, column 12: steps are counted from 1: write `after 2, 3`"),
        ("1. a\n2. b after 1,", "line 2, column 14: a step's number is missing: write `after 2, 3`"),
        ("1. [a=b] [a=c] d", "line 1, column 10: label a is asked for twice: write it once"),
        ("1. a retry 0", "line 1, column 6: 0 attempts: write a number from 1 to 100"),
        ("1. a retry 2 retry 3", "line 1, column 14: this was said already: write it once"),
        ("1. a within 30", "line 1, column 13: a time of at most a week: write `within 30s`, or with ms, m or h"),
        (
            "1. a\n2. b if 1 gives result",
            "line 2, column 17: a condition stands between backquotes: write gives `result.ok`",
        ),
        (
            "1. a\n2. b if 1 gives `x`",
            (
                "line 2, column 18: a condition knows only `result`, not x: write a condition such as "
                "`result.status == 200`"
            ),
        ),
        (
            "1. a\n2. b if 1 works",
            "line 2, column 11: how must it end: write fails, succeeds, ends, or gives `result.ok`",
        ),
        ("1. a\nanswer: {2}", "line 2, column 9: there is no step 2: name a step above (1)"),
        ("1. a\nanswer:", "line 2, column 8: an answer without words: write `answer: {2}`"),
        ("answer: a\nanswer: b", "line 2, column 1: there is an answer already: write one `answer:` line"),
        ("1. a \x00", "line 1, column 6: '\\x00' is no text: leave it out"),
    ],
)
def test_each_mistake_has_its_place_and_says_what_to_write(text: str, told: str):
    assert refused(text) == told


def test_too_many_steps_are_two_outlines():
    assert refused("- a\n" * 501) == "line 501, column 1: over 500 steps: make two outlines of it"


def test_values_that_are_too_deep_are_refused_however_deep():
    flatter = "deeper than 60 levels: write it flatter"

    assert refused(f"1. a x={'[' * 70}{']' * 70}") == f"line 1, column 8: {flatter}"
    assert refused(f"1. a x={'[' * 40_000}{']' * 40_000}") == f"line 1, column 8: {flatter}"


def test_half_a_character_is_refused_in_json_too():
    assert refused('1. a x="\\ud800"').startswith("line 1, column 8: '\\ud800' is half a character")


def outcome(text: str) -> Outline | tuple[str, int, int]:
    """Return the outline, or the error with a place that is in the text."""
    try:
        return parsed(text)
    except OutlineError as exc:
        error = exc
    lines = text.split("\n")
    assert 1 <= error.line <= len(lines)
    assert 1 <= error.column <= len(lines[error.line - 1]) + 1
    return str(error), error.line, error.column


@settings(max_examples=300)
@given(st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join) | st.lists(st.sampled_from(WORDS)).map("\n".join))
@example("steps:\n- {tool: a, arguments: {x: !!binary a}}")
@example("steps:\x85- a\u2028 - [")
@example("1. a x={000000000}")
def test_any_text_gives_steps_or_an_error_within_it_and_always_the_same(text: str):
    assert outcome(text) == outcome(text)


@settings(max_examples=300)
@given(
    st.lists(
        st.lists(st.sampled_from(WORDS), max_size=8).map(lambda words: "a " + " ".join(words)), min_size=1, max_size=5
    )
)
def test_steps_of_any_words_are_read_or_refused_where_they_stand(steps: list[str]):
    outcome("\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)))
