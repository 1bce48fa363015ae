"""JSON pointers, as RFC 6901 has them."""

import pytest

from protocol.codec import decode, encode
from protocol.messages import Accept
from protocol.pointer import PointerError, pointed

DOCUMENT = {"rows": [{"n": 1}, {"n": 2}], "a/b": 1, "m~n": 2, "": 3, "0": 4}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [("", DOCUMENT), ("/rows/1/n", 2), ("/a~1b", 1), ("/m~0n", 2), ("/", 3), ("/0", 4), ("/rows/0", {"n": 1})],
)
def test_a_pointer_names_a_part_of_a_document(pointer, value):
    assert pointed(DOCUMENT, pointer) == value


@pytest.mark.parametrize(
    "pointer", ["/nova", "/rows/2", "/rows/01", "/rows/-", "/rows/-1", "/rows/٣", "/a~1b/c", "/rows/n"]
)
def test_a_pointer_to_what_is_not_there_leads_nowhere(pointer):
    with pytest.raises(PointerError, match="leads nowhere"):
        pointed(DOCUMENT, pointer)


@pytest.mark.parametrize("pointer", ["rows", "/a~b", "/~", "/~2"])
def test_what_is_badly_written_is_no_pointer(pointer):
    with pytest.raises(PointerError, match="is not a JSON pointer"):
        pointed(DOCUMENT, pointer)


def test_one_message_by_itself_can_be_kept_and_read_again():
    assert decode(encode(Accept("c/a#1"))) == Accept("c/a#1")
