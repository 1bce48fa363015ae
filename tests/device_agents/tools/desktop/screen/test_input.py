"""Keys and clicks that arrive in real programs, and that are not taken for a person's."""

import asyncio
import shutil
import subprocess
from typing import Any

import pytest
from Xlib.display import Display

from device_agents.tools.desktop.screen import screen_vitals

from ...bench import Bench, failing
from .stands import close_menus, desk, lacking, node, shown, the_editor, the_terminal, tool, until, windows

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())
needs_xdotool = pytest.mark.skipif(not shutil.which("xdotool"), reason="this machine has no xdotool")

MIXED = "Grüße, 世界! ½ → Ω, я ß ł — “so”\n\tsecond line: {x} ~ @ |\n"
HIRAGANA = "".join(chr(code) for code in range(0x3042, 0x3042 + 45))  # more than any keyboard has spare keys


@pytest.fixture
def editor(bench: Bench) -> int:
    window = the_editor().window
    bench.call(tool("access.set_text"), node=node("text"), text="")
    return window


def written(bench: Bench) -> str:
    text = bench.call(tool("access.read"), node=node("text")).text
    assert isinstance(text, str)
    return text


def becomes(bench: Bench, text: str) -> None:
    """Wait for the text in the editor, and fail with what is there instead."""
    seen: list[str] = []

    def look() -> bool:
        seen.append(written(bench))
        return seen[-1] == text

    try:
        until(look, 5)
    except AssertionError:
        assert seen[-1] == text


def keys() -> Any:
    x = Display(desk().env["DISPLAY"])
    try:
        return [list(row) for row in x.get_keyboard_mapping(8, 248)]
    finally:
        x.close()


def held() -> int:
    """Return how many keys the X server takes for pressed."""
    x = Display(desk().env["DISPLAY"])
    try:
        return sum(each.bit_count() for each in x.query_keymap())
    finally:
        x.close()


def by_another(*words: str) -> None:
    """Let another program press keys, as a person would."""
    subprocess.run(["xdotool", *words], env=desk().env, check=True)


@pytest.mark.parametrize("text", [MIXED, HIRAGANA, "aAbB" * 100, "\N{ROCKET}"], ids=["mixed", "many", "long", "emoji"])
def test_text_in_any_script_arrives_as_it_was_typed(bench: Bench, editor: int, text: str):
    before = keys()

    typed = bench.call(tool("keyboard.type"), text=text, window=editor)

    becomes(bench, text)
    assert (typed.characters, typed.window) == (len(text), editor)
    assert keys() == before


def test_typing_that_is_cancelled_holds_no_key_and_leaves_the_keyboard_as_it_was(bench: Bench, editor: int):
    before = keys()

    field = node("text")

    async def cut_short() -> None:
        typing = asyncio.create_task(bench.run(tool("keyboard.type"), text="世A" * 2_500, window=editor))
        async with asyncio.timeout(30):
            while not (await bench.run(tool("access.read"), node=field)).text:
                assert not typing.done()
        typing.cancel()
        await asyncio.wait([typing])
        assert typing.cancelled()

    asyncio.run(cut_short())

    assert keys() == before
    assert held() == 0
    assert 0 < len(written(bench)) < 5_000


def test_two_that_type_at_once_do_not_mix_their_texts(bench: Bench, editor: int):
    texts = "Erste 世", "zweite 界"

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            for text in texts:
                group.create_task(bench.run(tool("keyboard.type"), text=text, window=editor))

    asyncio.run(both())

    until(lambda: len(written(bench)) == len("".join(texts)))
    assert written(bench) in {"".join(texts), "".join(reversed(texts))}


def test_text_arrives_in_a_program_that_cannot_be_asked_what_it_has_seen(bench: Bench):
    heard = bench.work / "heard"
    with shown("xterm", "-u8", "-T", "listens", "-e", "sh", "-c", f"cat > {heard}", title="listens") as terminal:
        bench.call(tool("keyboard.type"), text="Grüße 世界\n", window=terminal.window)
        until(lambda: heard.exists() and heard.read_text("utf-8") == "Grüße 世界\n")


@needs_xdotool
def test_caps_lock_changes_nothing_and_stays_as_it_was(bench: Bench, editor: int):
    x = Display(desk().env["DISPLAY"])
    by_another("key", "Caps_Lock")
    try:
        bench.call(tool("keyboard.type"), text="small and BIG", window=editor)
        becomes(bench, "small and BIG")
        assert x.screen().root.query_pointer().mask & 2
    finally:
        by_another("key", "Caps_Lock")
        x.close()


@needs_xdotool
def test_nothing_is_typed_while_somebody_holds_a_modifier(bench: Bench, editor: int):
    by_another("keydown", "ctrl")
    try:
        with failing("modifiers_held", retryable=True):
            bench.call(tool("keyboard.type"), text="q", window=editor)
    finally:
        by_another("keyup", "ctrl")

    assert written(bench) == ""


def test_nothing_is_typed_into_another_window_than_the_one_that_was_meant(bench: Bench, editor: int):
    the_terminal()

    with failing("not_focused", "0 keys", retryable=True):
        bench.call(tool("keyboard.type"), text="secret", window=editor)
    with failing("not_focused", retryable=True):
        bench.call(tool("keyboard.press"), keys="enter", window=editor)

    assert written(bench) == ""


def test_nothing_is_typed_into_a_menu_that_is_open(bench: Bench, editor: int):
    bench.call(tool("access.press"), node=node("menu", "Edit"))
    assert node("menu item", "Select All")
    try:
        with failing("keyboard_taken", "escape", retryable=True):
            bench.call(tool("keyboard.type"), text="save", window=editor)
    finally:
        close_menus(bench)

    bench.call(tool("keyboard.type"), text="save", window=editor)
    becomes(bench, "save")


def test_what_is_no_text_is_not_typed(bench: Bench):
    for text in ("\x1b[2J", "a\x00b", "\x7f"):
        with failing("bad_arguments"):
            bench.call(tool("keyboard.type"), text=text)


def test_a_chord_does_what_it_does_for_a_person(bench: Bench, editor: int):
    bench.call(tool("access.set_text"), node=node("text"), text="one two three")

    bench.call(tool("keyboard.press"), keys="ctrl+a", window=editor)
    bench.call(tool("keyboard.type"), text="x", window=editor)
    becomes(bench, "x")
    bench.call(tool("keyboard.press"), keys="backspace")
    bench.call(tool("keyboard.press"), keys="shift+b", times=3)

    becomes(bench, "BBB")


@pytest.mark.parametrize("chord", ["power", "ctrl+Print", "ctrl+", "hyper+a", "ctrl+ctrl+a", "0xff08", "XF86_Sleep"])
def test_a_key_that_has_no_name_here_is_refused(bench: Bench, chord: str):
    with failing("bad_arguments", "ctrl+s"):
        bench.call(tool("keyboard.press"), keys=chord)


@pytest.mark.parametrize("chord", ["ctrl+alt+backspace", "alt+ctrl+delete", "ctrl+alt+f1", "ctrl+shift+alt+f12"])
def test_a_chord_that_would_end_the_session_is_refused(bench: Bench, chord: str):
    with failing("denied", "end the session"):
        bench.call(tool("keyboard.press"), keys=chord)


def test_a_click_gives_the_keyboard_to_the_window_that_is_there(bench: Bench, editor: int):
    terminal = the_terminal().window
    bench.call(tool("window.focus"), window=editor)
    bench.call(tool("window.focus"), window=terminal)
    place = next(each for each in windows() if each["id"] == editor)

    clicked = bench.call(tool("pointer.click"), x=5, y=place["height"] - 5, window=editor)

    assert (clicked.window, clicked.x, clicked.y) == (editor, place["x"] + 5, place["y"] + place["height"] - 5)
    until(lambda: next(each for each in windows() if each["id"] == editor)["active"])


def test_a_double_click_marks_a_word(bench: Bench, editor: int):
    bench.call(tool("access.set_text"), node=node("text"), text="wonderful")

    place = next(each for each in windows() if each["id"] == editor)
    near = {"left": place["x"], "top": place["y"], "width": 300, "height": 150}

    def found() -> list[Any]:
        return [each for each in bench.call(tool("screen.text"), region=near).lines if "wonderful" in each.text]

    here = until(found)[0]
    bench.call(tool("pointer.click"), x=here.box[0] + 10, y=here.box[1] + here.box[3] // 2, double=True)
    bench.call(tool("keyboard.type"), text="new", window=editor)

    becomes(bench, "new")


def test_a_click_does_not_go_to_what_covers_the_window(bench: Bench):
    place = next(each for each in windows() if each["id"] == the_terminal().window)
    above = f"80x30+{place['x'] - 20}+{place['y'] - 40}"
    with shown("xterm", "-T", "above", "-geometry", above, title="above"):
        with failing("covered", retryable=True):
            bench.call(tool("pointer.click"), x=10, y=10, window=place["id"])
        with failing("outside"):
            bench.call(tool("pointer.click"), x=5_000, y=10, window=place["id"])
    with failing("outside"):
        bench.call(tool("pointer.click"), x=1_024, y=10)
    with failing("no_such_window"):
        bench.call(tool("pointer.click"), x=1, y=1, window=1)


def test_the_wheel_scrolls_what_is_under_the_pointer(bench: Bench, editor: int):
    lines = "\n".join(f"Number {number} of the list" for number in range(1, 400))
    bench.call(tool("access.set_text"), node=node("text"), text=lines)
    bench.call(tool("keyboard.press"), keys="ctrl+home", window=editor)

    place = next(each for each in windows() if each["id"] == editor)
    below = {"left": place["x"] + 40, "top": place["y"] + 200, "width": 200, "height": 120}  # where no cursor blinks

    def seen() -> str:
        return str(bench.call(tool("screen.shot"), region=below).image.sha256)

    until(lambda: seen() == seen())
    before = seen()
    bench.call(tool("pointer.scroll"), x=60, y=150, direction="down", steps=30, window=editor)
    until(lambda: seen() != before)

    bench.call(tool("pointer.scroll"), x=60, y=150, direction="up", steps=30, window=editor)
    until(lambda: seen() == before)


@needs_xdotool
def test_our_own_keys_are_not_taken_for_a_person_and_those_of_others_are(bench: Bench):
    settings = desk().settings(in_use_s=0.5)
    the_terminal()
    until(lambda: screen_vitals(settings)[0] is False)

    for _ in range(3):
        bench.call(tool("keyboard.press"), keys="a")
        assert screen_vitals(settings)[0] is False

    def noticed() -> bool:
        by_another("key", "b")
        return screen_vitals(settings)[0] is True

    until(noticed)
    until(lambda: screen_vitals(settings)[0] is False)
