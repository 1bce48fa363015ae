"""What a hostile app could write for the screen's elements is read without harm."""

import pytest

from device_agents.tools.mobile.tree import DEPTH_MAX, NODES_MAX, XML_BYTES_MAX, Element, parsed

from ..bench import Bench, failing
from .stands import call

BOMB = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><hierarchy><node text="&c;" bounds="[0,0][9,9]" /></hierarchy>"""
OUTSIDE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><hierarchy><node text="&f;" /></hierarchy>'


@pytest.mark.parametrize(
    "xml",
    [
        BOMB.encode(),
        OUTSIDE.encode(),
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><hierarchy/>',
        b"<hierarchy>" + b"<node>" * (DEPTH_MAX + 1) + b"</node>" * (DEPTH_MAX + 1) + b"</hierarchy>",
        b"<hierarchy>" + b"<node/>" * (NODES_MAX + 1) + b"</hierarchy>",
        b"<hierarchy>" + b" " * XML_BYTES_MAX + b"</hierarchy>",
        b"<hierarchy><node></hierarchy>",
        b'<hierarchy><node text="&undefined;"/></hierarchy>',
        b"<hierarchy><node text='\xff'/></hierarchy>",
        b"",
    ],
    ids=["bomb", "outside", "dtd", "deep", "many", "long", "broken", "undefined", "bytes", "nothing"],
)
def test_what_is_no_plain_tree_of_nodes_is_not_read(xml: bytes):
    with failing("unreadable_screen"):
        parsed(xml)


def test_odd_attributes_make_an_element_without_a_place():
    assert parsed(b'<h><node bounds="[1,2][x,4]" text="&#10;a" checked="true" /><other bounds="[0,0][1,1]" /></h>') == [
        Element((0, 0, 0, 0), text="\na")
    ]


def test_an_entity_bomb_on_the_phone_is_refused(bench: Bench):
    bench.peer.tell("tree", BOMB)

    with failing("unreadable_screen", "document type"):
        call(bench, "phone.screen")


def test_a_screen_of_too_many_elements_is_refused_and_one_of_many_is_cut(bench: Bench):
    bench.peer.tell("tree-of", "30000")
    with failing("unreadable_screen", str(NODES_MAX)):
        call(bench, "phone.screen")

    bench.peer.tell("tree-of", "200000")
    with failing("output_too_large"):
        call(bench, "phone.screen")

    bench.peer.tell("tree-of", "3000")
    seen = call(bench, "phone.screen")
    assert (0 < len(seen.elements) < 3_000, seen.more) == (True, True)


def test_an_element_off_the_screen_or_there_twice_is_not_tapped(bench: Bench):
    two = "".join(f'<node text="Pay" clickable="true" bounds="{at}" />' for at in ("[0,0][9,9]", "[0,9][9,99]"))
    bench.peer.tell("tree", f'<hierarchy><node text="Gone" bounds="[0,0][0,0]" />{two}</hierarchy>')

    with failing("not_found", "Gone"):
        call(bench, "phone.tap", text="Gone")
    with failing("ambiguous", "2 things", "4 4", "4 54"):
        call(bench, "phone.tap", text="Pay")
