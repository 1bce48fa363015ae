"""Files that commands read: YAML and JSON alike, and every mistake with its place."""

import json
from pathlib import Path

import pytest
import typer

from galaxy.cli.commands import document
from galaxy.cli.exits import REFUSED

PLAN = {"name": "plan", "stars": [{"id": "a", "tool": "x", "arguments": {"on": "yes", "n": 1.5, "none": None}}]}


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "file"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(PLAN),
        json.dumps(PLAN, indent="\t"),
        "\ufeff" + json.dumps(PLAN),
        'name: plan\nstars:\n- {id: a, tool: x, arguments: {"on": "yes", n: 1.5, none: null}}\n',
        '# a comment\n{"name": "plan", "stars": [{id: a, tool: x, arguments: {"on": "yes", n: 1.5, none: ~}}],}',
    ],
)
def test_yaml_and_json_say_the_same(tmp_path: Path, text: str):
    assert document(written(tmp_path, text)) == PLAN


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stars:\n  - {id: a\n  - b", "line 2, column 5"),
        ("a: b: c", "line 1, column 5"),
        ('{"a": 1,\n "b": }}', "line 2"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("when: 2026-01-01", "date"),
        ("x: .nan", "JSON"),
        ("x: !!set {a, b}", "set"),
        ("&a [*a]", "Circular"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason_and_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, told: str
):
    with pytest.raises(typer.Exit) as ended:
        document(written(tmp_path, text))

    assert ended.value.exit_code == REFUSED
    assert told in capsys.readouterr().err


def test_nesting_without_end_is_refused_and_not_a_crash(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit):
        document(written(tmp_path, "[" * 20_000))

    assert capsys.readouterr().err
