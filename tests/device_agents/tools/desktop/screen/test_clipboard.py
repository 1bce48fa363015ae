"""The clipboard, with xclip as the other program."""

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from Xlib import X
from Xlib.display import Display
from Xlib.protocol.event import SelectionNotify

from device_agents.errors import ToolFailed

from ...bench import Bench, failing
from .stands import desk, lacking, node, the_editor, tool, until

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
    pytest.mark.skipif(not shutil.which("xclip"), reason="this machine has no xclip"),
]

MIXED = "Grüße, 世界 \N{ROCKET}\n\ttwo"


def pasted(target: str = "UTF8_STRING") -> bytes:
    command = ["xclip", "-selection", "clipboard", "-o", "-t", target]
    return subprocess.run(command, env=desk().env, check=True, capture_output=True, timeout=10).stdout


def copied(bench: Bench, content: bytes, *more: str) -> None:
    """Let xclip own the clipboard; it stays in the background until another takes it."""
    (bench.work / "copied").write_bytes(content)
    before = owner()
    command = ["xclip", "-selection", "clipboard", "-i", *more, str(bench.work / "copied")]
    subprocess.run(command, env=desk().env, check=True, stdout=subprocess.DEVNULL, timeout=10)
    until(lambda: owner() not in (0, before))


def owner() -> int:
    """Return the id of the window that owns the clipboard, or 0."""
    x = Display(desk().env["DISPLAY"])
    try:
        found = x.get_selection_owner(x.intern_atom("CLIPBOARD"))
        return found.id if found else 0
    finally:
        x.close()


@contextmanager
def an_owner(*, answers: bool) -> Iterator[None]:
    """Own the clipboard as a program that has no text, or that does not answer."""
    x = Display(desk().env["DISPLAY"])
    window = x.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent)
    window.set_selection_owner(x.intern_atom("CLIPBOARD"), X.CurrentTime)
    x.sync()

    def answer() -> None:
        for _ in range(2):  # that is how often it is asked for a kind of text
            asked = x.next_event()
            words = {name: getattr(asked, name) for name in ("time", "requestor", "selection", "target")}
            asked.requestor.send_event(SelectionNotify(**words, property=X.NONE))
            x.flush()

    thread = threading.Thread(target=answer if answers else lambda: None)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        x.close()


def owners() -> int:
    return len([each for each in threading.enumerate() if each.name == "clipboard"])


@pytest.mark.parametrize("text", [MIXED, "", "x" * 200_000], ids=["mixed", "empty", "long"])
def test_what_is_written_can_be_pasted_elsewhere_after_the_call(bench: Bench, text: str):
    written = bench.call(tool("clipboard.write"), text=text)

    assert written.bytes == len(text.encode())
    assert pasted() == text.encode()
    assert pasted("text/plain;charset=utf-8") == text.encode()
    assert {b"UTF8_STRING", b"STRING"} <= set(pasted("TARGETS").split())
    assert bench.call(tool("clipboard.read")).bytes == written.bytes


def test_what_is_written_can_be_pasted_by_a_person_into_an_editor(bench: Bench):
    window = the_editor().window
    bench.call(tool("access.set_text"), node=node("text"), text="")

    bench.call(tool("clipboard.write"), text=MIXED)
    bench.call(tool("keyboard.press"), keys="ctrl+v", window=window)

    until(lambda: bench.call(tool("access.read"), node=node("text")).text == MIXED)


def test_an_old_program_gets_what_latin_1_can_say(bench: Bench):
    bench.call(tool("clipboard.write"), text="Grüße 世")

    assert pasted("STRING") == "Grüße ?".encode("latin-1")


def test_what_another_program_has_copied_is_read(bench: Bench):
    copied(bench, MIXED.encode())

    assert bench.call(tool("clipboard.read")).text == MIXED


def test_a_long_text_that_comes_in_pieces_is_whole_in_an_artifact(bench: Bench):
    content = ("0123456789äöü\n" * 100_000).encode()
    copied(bench, content)

    read = bench.call(tool("clipboard.read"))

    assert read.bytes == len(content)
    assert bench.shelf.content(read.artifact) == content
    assert content.decode().startswith(read.text)


def test_a_clipboard_without_end_is_not_read_to_the_end(bench: Bench):
    copied(bench, b"x" * (5 << 20))

    with failing("too_large"):
        bench.call(tool("clipboard.read"))


def test_bytes_that_are_no_utf8_do_no_harm(bench: Bench):
    copied(bench, b"caf\xe9\xff\x00\x1b[2J")

    assert bench.call(tool("clipboard.read")).text == "caf\ufffd\ufffd\x00\x1b[2J"


def test_a_clipboard_that_holds_no_text_says_so(bench: Bench):
    with an_owner(answers=True), failing("no_text"):
        bench.call(tool("clipboard.read"))


def test_an_empty_clipboard_is_an_empty_text(bench: Bench):
    copied(bench, b"last", "-loops", "1")
    assert pasted() == b"last"

    until(lambda: bench.call(tool("clipboard.read")).bytes == 0)


def test_an_owner_that_does_not_answer_is_not_waited_for(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("device_agents.tools.desktop.screen.clipboard._ANSWER_S", 0.3)
    with an_owner(answers=False), failing("not_responding", retryable=True):
        bench.call(tool("clipboard.read"))


def test_an_owner_ends_as_soon_as_another_program_copies(bench: Bench):
    for text in ("one", "two", "three"):
        bench.call(tool("clipboard.write"), text=text)
    until(lambda: owners() == 1)
    assert pasted() == b"three"

    copied(bench, b"four")

    until(lambda: owners() == 0)


def test_a_text_that_is_too_long_in_bytes_is_refused(bench: Bench):
    with failing("too_large"):
        bench.call(tool("clipboard.write"), text="世" * 100_000)


def test_many_that_write_at_once_leave_one_of_their_texts(bench: Bench):
    write = tool("clipboard.write")

    async def all_at_once() -> list[object]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(attempt(str(number))) for number in range(8)]
        return [each.result() for each in tasks]

    async def attempt(text: str) -> bool:
        try:
            await bench.run(write, text=text)
        except ToolFailed:
            return False  # another was quicker
        return True

    assert any(asyncio.run(all_at_once()))
    assert pasted().decode() in "01234567"
    until(lambda: owners() == 1)
