"""A byte stream is taken apart at the frames of a WebSocket, wherever the network has cut it."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from nebulabench.cluster.frames import CLOSE, Frames

HEAD = b"GET /v1/agent HTTP/1.1\r\nHost: galaxy\r\n\r\n"
TEXT = 1


def frame(text: bytes, *, kind: int = TEXT, key: bytes = b"") -> bytes:
    """Return a frame, masked if there is a key."""
    masked = 0x80 if key else 0
    if len(text) < 126:
        head = bytes((0x80 | kind, masked | len(text)))
    else:
        head = bytes((0x80 | kind, masked | 126)) + struct.pack(">H", len(text))
    body = bytes(byte ^ key[n % 4] for n, byte in enumerate(text)) if key else text
    return head + key + body


TEXTS = st.lists(st.binary(max_size=300), min_size=1, max_size=5)
KEYS = st.sampled_from((b"", b"\x01\x02\x03\x04", b"\xff\x00\xfe\x7f"))


@given(TEXTS, KEYS, st.lists(st.integers(1, 400), max_size=30))
def test_however_the_bytes_arrive_the_same_frames_come_out(texts, key, cuts):
    whole = HEAD + b"".join(frame(text, key=key) for text in texts)
    frames, pieces, begin = Frames(), [], 0
    for size in [*cuts, len(whole)]:
        pieces += frames.fed(whole[begin : begin + size])
        begin += size

    assert b"".join(piece.raw for piece in pieces) == whole
    assert [piece.text for piece in pieces if piece.is_frame] == texts


def test_a_frame_that_closes_is_known_as_one():
    (head, close) = Frames().fed(HEAD + frame(b"\x03\xe8", kind=CLOSE))

    assert (head.is_frame, close.is_close) == (False, True)


def test_what_is_no_devices_session_passes_as_it_comes():
    frames = Frames()

    assert [piece.raw for piece in frames.fed(b"PUT /v1/artifacts/x HTTP/1.1\r\n")] == [
        b"PUT /v1/artifacts/x HTTP/1.1\r\n"
    ]
    assert [piece.raw for piece in frames.fed(b"\x81\x01")] == [b"\x81\x01"]
