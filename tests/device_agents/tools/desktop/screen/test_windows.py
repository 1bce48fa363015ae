"""Windows that are really there, whatever their titles say."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from Xlib import X
from Xlib.display import Display

from ...bench import Bench, failing
from .stands import desk, lacking, shown, the_editor, the_terminal, tool, until, windows

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())


@contextmanager
def a_window(title: bytes, kind: str = "UTF8_STRING") -> Iterator[int]:
    """Show a window of this process, with any bytes as its title."""
    x = Display(desk().env["DISPLAY"])
    try:
        window = x.screen().root.create_window(40, 50, 200, 100, 0, X.CopyFromParent)
        window.change_property(x.intern_atom("_NET_WM_NAME"), x.intern_atom(kind), 8, title)
        window.map()
        x.sync()
        until(lambda: window.id in [each["id"] for each in windows()])
        yield window.id
        window.destroy()
        x.sync()
    finally:
        x.close()


def titled(window: int) -> Any:
    return next(each for each in windows() if each["id"] == window)


def test_the_windows_are_listed_with_class_and_process_and_place():
    with shown("xterm", "-T", "my notes", "-geometry", "40x10+300+200", "-class", "Notes", title="my notes") as notes:
        found = titled(notes.window)

    assert (found["title"], found["window_class"], found["active"], found["minimized"]) == (
        "my notes",
        "Notes",
        True,
        False,
    )
    assert isinstance(found["pid"], int)
    assert 300 <= found["x"] < 310
    assert 200 <= found["y"] < 240
    assert (found["width"] > 200, found["height"] > 100) == (True, True)


def test_focus_ends_when_the_window_really_has_the_keyboard(bench: Bench):
    editor = the_editor().window
    terminal = the_terminal().window

    focused = bench.call(tool("window.focus"), title="Mousepad")

    assert focused.window == editor
    assert [(each["id"], each["active"]) for each in windows() if each["id"] in (editor, terminal)] == [
        (editor, True),  # and the topmost first
        (terminal, False),
    ]


def test_a_window_that_is_not_there_or_not_the_only_one_is_not_guessed(bench: Bench):
    focus = tool("window.focus")
    with failing("no_such_window"):
        bench.call(focus, title="no such title")
    with failing("no_such_window"):
        bench.call(focus, window=1)
    with failing("bad_arguments"):
        bench.call(focus)
    with a_window(b"twin one"), a_window(b"twin two"), failing("not_unique", "2 windows"):
        bench.call(focus, title="twin")


def test_a_title_with_control_characters_steers_no_terminal():
    with a_window(b"safe\x1b]0;evil\x07\n\xe2\x80\xaegnp.exe") as window:
        title = titled(window)["title"]

    assert title == "safe\ufffd]0;evil\ufffd\ufffd\ufffdgnp.exe"


def test_a_title_that_is_no_utf8_is_listed_all_the_same():
    with a_window(b"caf\xe9 \xff\xfe") as window:
        assert titled(window)["title"] == "caf\ufffd \ufffd\ufffd"


def test_a_title_that_is_very_long_is_cut():
    with a_window(b"long " * 20_000) as window:
        assert titled(window)["title"] == ("long " * 40)


def test_a_title_of_a_foreign_type_does_no_harm():
    with a_window(b"\1\2\3\4" * 10, "ATOM") as window:
        assert len(titled(window)["title"]) <= 200
