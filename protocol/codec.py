"""Sentences <-> one frame of bytes. The only place that knows what a frame looks like.

A frame is a JSON object: `{"ack": 12, "first": 41, "messages": [...]}`. `ack` is the number of the peer's last message
that is safe with the sender; it is 0 until both ends are open, and at most repeated by signs of life. `first` is the
number of the first message, the others follow; it is 0 where the messages are not numbered (the greeting, signs of
life). A frame without messages only acknowledges.
"""

from collections.abc import Sequence

import msgspec

from .errors import RemoteProtocolError
from .messages import AnyMessage, Message
from .vocabulary import FRAME_BYTES_MAX, SUBPROTOCOL, ByeCode


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one WebSocket message holds."""

    ack: int = 0
    first: int = 0
    messages: list[AnyMessage] = []


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Frame)
_kind_decoder = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the message's own bytes, once; frames are joined from them."""
    return _encoder.encode(message)


def decode(encoded: bytes) -> AnyMessage:
    """Return the message that `encode` made bytes of."""
    message: AnyMessage = msgspec.json.decode(encoded, type=AnyMessage)
    return message


def framed(encoded: Sequence[bytes], *, first: int, ack: int) -> bytes:
    """Return the frame that holds these encoded messages."""
    return b'{"ack":%d,"first":%d,"messages":[%b]}' % (ack, first, b",".join(encoded))


def unframed(frame: bytes | str) -> Frame:
    """Return what the frame holds; raise RemoteProtocolError, with the place, for anything else."""
    try:
        size = len(frame) if isinstance(frame, bytes) or frame.isascii() else len(frame.encode())
        if size > FRAME_BYTES_MAX:
            raise RemoteProtocolError(ByeCode.TOO_LARGE, f"a frame of {size} bytes, at most {FRAME_BYTES_MAX}")
        if isinstance(frame, bytes) and not frame.isascii():
            frame.decode()  # what is taken over as it stands (`Raw`) is not looked into below
        decoded = _decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
        raise RemoteProtocolError(ByeCode.MALFORMED, f"unreadable frame: {exc}") from exc
    if decoded.ack < 0 or decoded.first < 0:
        raise RemoteProtocolError(ByeCode.MALFORMED, "unreadable frame: a negative number")
    return decoded


def proof_of(galaxy: str, nonce: str, device: str, boot: str) -> bytes:
    """Return the bytes that a device signs: who speaks, to whom, and that it is this socket and no other."""
    return "\n".join((SUBPROTOCOL, galaxy, nonce, device, boot)).encode()
