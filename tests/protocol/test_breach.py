"""What the peer does wrong closes that link and no more: what is wrong, the code, the reason, the state."""

import pytest

from protocol.codec import encode, framed, unframed
from protocol.errors import RemoteProtocolError
from protocol.messages import Accept, Bye, Revoke
from protocol.states import CLOSED
from protocol.vocabulary import FRAME_BYTES_MAX, ByeCode

from .helpers import ASSIGN, Wire, note, opened

MISTAKES = {
    "": ByeCode.MALFORMED,
    "{": ByeCode.MALFORMED,
    "[]": ByeCode.MALFORMED,
    "nova": ByeCode.MALFORMED,
    '{"messages":[{"type":"nova"}]}': ByeCode.MALFORMED,
    '{"messages":[{"type":"accept"}]}': ByeCode.MALFORMED,
    '{"first":1,"messages":[{"type":"accept"}]}': ByeCode.MALFORMED,
    '{"first":1,"messages":[{"type":"accept","attempt":5}]}': ByeCode.MALFORMED,
    '{"first":1,"messages":[{"type":"report","attempt":"c/a#1","outcome":"splendid"}]}': ByeCode.MALFORMED,
    '{"first":1,"messages":[{"type":"report","attempt":"c/a#1","outcome":"failed","result":nul}]}': ByeCode.MALFORMED,
    '{"first":"1"}': ByeCode.MALFORMED,
    '{"first":-1}': ByeCode.MALFORMED,
    '{"ack":-1}': ByeCode.MALFORMED,
    '{"ack":1}': ByeCode.MALFORMED,  # never said
    '{"messages":[{"type":"accept","attempt":"c/a#1"}]}': ByeCode.MALFORMED,  # without a number
    '{"first":2,"messages":[{"type":"accept","attempt":"c/a#1"}]}': ByeCode.MALFORMED,  # a gap
    '{"messages":[{"type":"renew","sent_at":1e999}]}': ByeCode.MALFORMED,
    '{"messages":[{"type":"bye","code":"silent","message":"\\ud800"}]}': ByeCode.MALFORMED,
    '{"messages":[{"type":"no\ud800va"}]}': ByeCode.MALFORMED,  # text that cannot be UTF-8
    '{"first":1,"messages":[{"type":"drain","reason":"","x":' + "[" * 5_000 + "]" * 5_000 + "}]}": ByeCode.MALFORMED,
    '{"first":1,"messages":[{"type":"revoke","attempt":"c/a#1","reason":""}]}': ByeCode.OUT_OF_TURN,
    '{"first":1,"messages":[{"type":"renew","sent_at":1}]}': ByeCode.OUT_OF_TURN,  # with a number
    '{"messages":[{"type":"renewed","sent_at":1}]}': ByeCode.OUT_OF_TURN,
    '{"messages":[{"type":"bye","code":"silent","message":""},{"type":"renew","sent_at":1}]}': ByeCode.OUT_OF_TURN,
    " " * FRAME_BYTES_MAX + "{}": ByeCode.TOO_LARGE,
    '{"x":"' + "★" * (FRAME_BYTES_MAX // 2) + '"}': ByeCode.TOO_LARGE,  # bytes count, not characters
}


@pytest.mark.parametrize(("frame", "code"), MISTAKES.items(), ids=lambda value: ascii(value)[:60])
def test_a_mistake_of_the_peer_closes_with_the_reason_said(frame, code):
    galaxy = opened().galaxy
    galaxy.send(ASSIGN)

    with pytest.raises(RemoteProtocolError) as breach:
        galaxy.receive(frame, 1.0)

    assert breach.value.code is code
    said = [m for out in galaxy.frames_to_send(1.0) for m in unframed(out).messages]
    assert galaxy.state is CLOSED
    assert (galaxy.receive("anything", 1.0), galaxy.next_deadline()) == ([], None)
    if '"bye"' not in frame or "ud800" in frame:
        assert [type(m) for m in said] == [Bye]
        assert said[0].code is code


def test_bytes_that_are_not_utf8_are_refused_even_inside_a_result():
    frame = b'{"first":1,"messages":[{"type":"report","attempt":"c/a#1","outcome":"succeeded","result":"\xff"}]}'
    with pytest.raises(RemoteProtocolError, match="utf-8"):
        opened().galaxy.receive(frame, 0.0)


def test_a_message_out_of_turn_in_the_greeting_is_refused_by_name():
    wire = Wire()
    with pytest.raises(RemoteProtocolError, match="device may not say Accept when new"):
        wire.galaxy.receive(framed([encode(Accept("c/a#1"))], first=1, ack=0), 0.0)


def test_of_a_frame_with_a_mistake_nothing_is_heard():
    galaxy = opened().galaxy
    with pytest.raises(RemoteProtocolError, match="device may not say Revoke when open"):
        galaxy.receive(framed([encode(note(1)), encode(Revoke("c/a#1", ""))], first=1, ack=0), 0.0)

    assert galaxy.heard == 0


def test_a_long_reason_is_cut_so_that_the_bye_is_small():
    galaxy = opened().galaxy
    galaxy.close(ByeCode.STOPPING, "x" * 5_000)
    galaxy.close(ByeCode.REVOKED, "only the first reason is said")
    (frame,) = galaxy.frames_to_send(0.0)

    assert unframed(frame).messages == [Bye(ByeCode.STOPPING, "x" * 200)]
