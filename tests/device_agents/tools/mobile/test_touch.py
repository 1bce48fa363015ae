"""What the tools do to a phone's screen."""

import asyncio

import pytest

from device_agents.errors import ToolFailed
from device_agents.tools import mobile
from device_agents.tools.base import Probed
from device_agents.tools.mobile.touch import parts

from ..bench import Bench, failing
from .stands import call, settings_of, texts

HOSTILE = [
    "; rm -rf /",
    "$(touch /sdcard/Download/owned)",
    "`touch /sdcard/Download/owned`",
    "a' ; touch /sdcard/Download/owned ; 'b",
    'a" && touch /sdcard/Download/owned && "b',
    "a | touch /sdcard/Download/owned & b",
    "$HOME ${PATH} ~ * ? [a] {b,c} ! # \\ \\n < > =",
    "100%sure %s %%s %",
    "-n --help",
    "it's  two   spaces ",
]


def typed(bench: Bench, text: str) -> str:
    """Return what stands in the notes after the text was typed there."""
    call(bench, "phone.launch", package="com.galaxy.notes")
    call(bench, "phone.tap", id="note")
    call(bench, "phone.type", text=text)
    (field,) = [each for each in call(bench, "phone.screen").elements if each.id.endswith("/note")]
    return field.text


def test_a_tap_by_text_changes_the_page_and_its_picture(bench: Bench):
    call(bench, "phone.tap", text="Counter")
    before = call(bench, "phone.screenshot")
    at = call(bench, "phone.tap", text="Add one")
    after = call(bench, "phone.screenshot")

    assert before.picture != after.picture
    assert "1" in texts(bench)
    assert call(bench, "phone.tap", x=at.x, y=at.y) == at
    assert "2" in texts(bench)


def test_an_element_is_tapped_by_its_id_whole_or_short(bench: Bench):
    call(bench, "phone.launch", package="com.galaxy.counter")
    call(bench, "phone.tap", id="less")
    call(bench, "phone.tap", id="com.galaxy.counter:id/less")

    assert "-2" in texts(bench)


def test_what_is_not_on_the_screen_cannot_be_tapped(bench: Bench):
    with failing("not_found", "'Nothing'", "phone.screen"):
        call(bench, "phone.tap", text="Nothing")


@pytest.mark.parametrize("arguments", [{}, {"x": 1}, {"text": "a", "id": "b"}, {"x": 1, "text": "a"}])
def test_a_tap_has_one_target_and_no_more(bench: Bench, arguments: dict[str, object]):
    with failing("bad_arguments"):
        call(bench, "phone.tap", **arguments)


def test_a_swipe_scrolls_the_page(bench: Bench):
    call(bench, "phone.launch", package="com.galaxy.settings")
    before = texts(bench)
    call(bench, "phone.swipe", x=200, y=700, to_x=200, to_y=200)

    assert (before[1], "Setting 1" in texts(bench)) == ("Setting 1", False)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_arrives_as_it_is_and_does_nothing_else(bench: Bench, text: str):
    bench.peer.file("/sdcard/Download/kept").write_text("kept")

    assert typed(bench, text) == text
    assert [each.name for each in bench.peer.file("/sdcard/Download").iterdir()] == ["kept"]


def test_lines_and_tabs_are_keys_and_long_text_goes_in_parts(bench: Bench):
    assert typed(bench, "one\ntwo " + "x" * 450) == "one\ntwo " + "x" * 450
    assert parts("a%sb\n\tc%") == ["a%", "sb", "\n", "\t", "c%"]


@pytest.mark.parametrize("text", ["ü", "a\x00b", "\x1b[0m", "\r"])
def test_what_android_cannot_type_is_refused_before_anything_is_typed(bench: Bench, text: str):
    with failing("bad_arguments", "ASCII"):
        call(bench, "phone.type", text=f"first {text}")


def test_keys_go_home_and_edit(bench: Bench):
    assert typed(bench, "abc") == "abc"
    call(bench, "phone.key", key="delete", times=2)
    assert "a" in texts(bench)
    call(bench, "phone.key", key="home")
    assert call(bench, "phone.info").app == "com.galaxy.home"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("phone.tap", {"x": 1, "y": 1}),
        ("phone.swipe", {"x": 1, "y": 1, "to_x": 2, "to_y": 2}),
        ("phone.type", {"text": "x"}),
        ("phone.key", {"key": "home"}),
    ],
)
def test_without_its_owners_word_the_phone_is_not_touched(bench: Bench, name: str, arguments: dict[str, object]):
    with failing("denied", "mobile.touch = true in agent.toml"):
        call(bench, name, settings_of(bench.peer, touch=False), **arguments)


def test_a_tool_of_which_no_call_is_allowed_is_not_offered(bench: Bench):
    unfit = []
    for tool in mobile.tools(settings_of(bench.peer, touch=False, apps=(), install=False)):
        assert isinstance(tool, Probed)
        try:
            asyncio.run(tool.probe(bench.guard))
        except ToolFailed as exc:
            unfit.append((tool.name, exc.failure.code))

    closed = ("tap", "swipe", "type", "key", "launch", "stop", "install")
    assert unfit == [(f"phone.{name}", "denied") for name in closed]
