"""Reading outlines in YAML: what is read, and where each mistake is."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy.planner.outline import parsed
from galaxy.planner.outline_yaml import parsed_yaml
from galaxy.planner.steps import OutlineError
from tests.galaxy.planner.test_outline_text import outcome

PIECES = [
    *(
        "steps:",
        "- tool: a",
        "  tool: b",
        "  id: 2",
        "  after: [1]",
        "  if: {is: fails}",
        "  arguments:",
        "    x: '{1}'",
    ),
    *(
        "  for_each: {var: X, in: 1}",
        "    y: '{X}!'",
        "  instruction: {text: do}",
        "answer: '{1}'",
        "- {",
        "&a",
        "*a",
        "!!x",
    ),
    *(
        "  retry: 1",
        "  within_s: .inf",
        "  labels: {a: b}",
        "  fallback: {tool: c}",
        "? [",
        "---",
        "<<: *a",
        "\t",
        "|2",
    ),
]


def test_a_bare_word_is_what_it_is_in_markdown():
    words = "{i: 7, b: yes, d: 2024-01-01, t: '7', n: , h: 0x10, f: 1e3, z: ~, m: {k: [no]}}"
    text = f"steps:\n- tool: a\n  arguments: {words}"

    assert parsed_yaml(text).steps[0].call.arguments == {
        "i": 7,
        "b": "yes",
        "d": "2024-01-01",
        "t": "7",
        "n": None,
        "h": "0x10",
        "f": 1000.0,
        "z": None,
        "m": {"k": ["no"]},
    }


@pytest.mark.parametrize(
    ("text", "count"),
    [("{steps: [{tool: a}]}", 1), ("title: t\nsteps:\n- tool: a\n- tool: b", 2), ("- a\n- b\n- c", 3)],
)
def test_a_text_with_steps_as_a_key_is_yaml_and_every_other_is_markdown(text: str, count: int):
    assert len(parsed(text).steps) == count


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "steps: [",
            (
                "line 1, column 9: this is not YAML (expected the node content, but found '<stream "
                "end>'): put texts with : or # in quotes"
            ),
        ),
        (
            "steps: x",
            (
                "line 1, column 8: this is not a list: write `steps:` and below it a list of mappings, "
                "as in `- tool: ...`"
            ),
        ),
        ("{a: b}", "line 1, column 2: there is no key 'a': write one of title, steps, answer"),
        ("{title: b}", "line 1, column 1: there are no steps: write `steps:` and a list below it"),
        (
            "steps:\n- a",
            (
                "line 2, column 3: this is not a mapping: write `key: value` with keys among id, title, "
                "tool, arguments, instruction, device, labels, after, if, for_each, retry, within_s, "
                "fallback, needs_approval"
            ),
        ),
        ("steps:\n- tool: a\n  tool: b", "line 3, column 3: key 'tool' stands twice: write it once"),
        ("steps:\n- title: a", "line 2, column 3: a step has either a tool or an instruction: write `tool: file.read`"),
        ("steps:\n- tool: a\n  id: b", "line 3, column 7: this is not a number from 1 to 999999999: write `1`"),
        ("steps:\n- tool: a b", "line 2, column 9: 'a b' is not a tool's name: write one such as file.read"),
        (
            "steps:\n- tool: a\n  arguments: [1]",
            "line 3, column 14: arguments are a mapping: write `arguments: {path: notes.txt}`",
        ),
        (
            "steps:\n- tool: a\n- tool: b\n  after: [1, 3]",
            "line 4, column 14: there is no step 3: name a step above (1)",
        ),
        (
            "steps:\n- tool: a\n- tool: b\n  if: {is: bad}",
            "line 4, column 12: 'bad' is no way to end: write succeeds, fails, ends",
        ),
        (
            "steps:\n- tool: a\n- tool: b\n  if: {step: 1}",
            ("line 4, column 7: write `if: {step: 2, is: fails}`, or `gives: result.ok` in place of `is`"),
        ),
        (
            "steps:\n- tool: a\n  arguments: {x: '{Y}'}",
            ("line 3, column 19: nothing is called Y, there is no loop here: for the text itself write {{Y}}"),
        ),
        (
            "steps:\n- tool: a\n  for_each: {var: X}",
            "line 3, column 13: write `for_each: {var: X, in: 2, pointer: /items}`",
        ),
        ("steps:\n- tool: a\n  for_each: {var: 1x, in: 1}", "line 3, column 19: '1x' is no variable: write `var: X`"),
        (
            "steps:\n- tool: a\n  labels: {a: 1}",
            ('line 3, column 15: this is not a text: write `labels: {zone: home}`, numbers in quotes as in "1"'),
        ),
        ("steps:\n- tool: a\n  labels: {-: b}", "line 3, column 12: this is not a label: write `labels: {zone: home}`"),
        ("steps:\n- tool: a\n  device: a b", "line 3, column 11: 'a b' is not a name: write one such as `laptop`"),
        (
            "steps:\n- tool: a\n  within_s: soon",
            "line 3, column 13: this is not a time: write seconds up to 604800, as in `30`",
        ),
        (
            "steps:\n- tool: a\n  needs_approval: 1",
            "line 3, column 19: this is neither true nor false: write `needs_approval: true`",
        ),
        (
            "steps:\n- instruction: {tools: []}",
            "line 2, column 16: what is to be done is missing: write `text: tidy up`",
        ),
        ("steps:\n- tool: a\n  fallback: {}", "line 3, column 13: the tool is missing: write `tool: file.read`"),
        (
            "steps:\n- tool: &x a",
            ("line 2, column 9: an anchor has no place in an outline: write the value out, or put it in quotes"),
        ),
        ("steps:\n- tool: a\nanswer: ''", 'line 3, column 9: an answer without words: write `answer: "{2}"`'),
        ('steps:\n- tool: "a\\0"', "line 2, column 9: a NUL is no text: write `tool: file.read`"),
        ("steps:\n- tool: a\x07", "line 2, column 10: a character that YAML does not know: leave it out"),
    ],
)
def test_each_mistake_has_its_place_and_says_what_to_write(text: str, told: str):
    with pytest.raises(OutlineError) as caught:
        parsed(text)

    assert str(caught.value) == told


@pytest.mark.parametrize("deep", ["[" * 100 + "]" * 100, "[" * 50_000])
def test_what_is_too_deep_is_refused_however_deep(deep: str):
    with pytest.raises(OutlineError, match="write it flatter"):
        parsed_yaml(f"steps:\n- tool: a\n  arguments: {{x: {deep}}}")


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES)), st.sampled_from(["\n", "\r\n", " "]))
def test_any_yaml_gives_steps_or_an_error_within_it(pieces: list[Any], end: str):
    assert outcome("steps:\n" + end.join(pieces)) == outcome("steps:\n" + end.join(pieces))
