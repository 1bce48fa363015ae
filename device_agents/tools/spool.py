"""Bytes that arrive in pieces, and how many of them a result may hold."""

import codecs
from pathlib import Path

import msgspec

from protocol.vocabulary import RESULT_INLINE_BYTES_MAX

from .base import ArtifactRef, ArtifactShelf
from .blocking import Stop, unblocked

INLINE_BYTES_MAX = 48 << 10  # of one text in a result; what else the result says needs room too
INLINE_BASE64_MAX = INLINE_BYTES_MAX * 3 // 4
assert INLINE_BYTES_MAX < RESULT_INLINE_BYTES_MAX

_HELD_BYTES_MAX = 256 << 10  # before a trip to the disk
_TAIL_BYTES = 2_000


class Spool:
    """Bytes that arrive in pieces: the head stays at hand, and once there is more than that, all go to a file."""

    def __init__(self, path: Path, *, head_bytes_max: int = INLINE_BYTES_MAX) -> None:
        self.count = 0
        self.head = b""
        self.tail = b""
        self._path = path
        self._head_bytes_max = head_bytes_max
        self._held = bytearray()

    async def write(self, piece: bytes) -> None:
        room = self._head_bytes_max - len(self.head)
        self.head += piece[:room]
        self.tail = (self.tail + piece)[-_TAIL_BYTES:]
        self.count += len(piece)
        self._held += piece
        if len(self._held) > _HELD_BYTES_MAX:
            await unblocked(self._append)

    def text(self, bytes_max: int) -> str:
        """Return as much of the head as fits, as text; what is no UTF-8 becomes a replacement character."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        return cut_to_fit(decoder.decode(self.head, final=self.count == len(self.head)), bytes_max)

    def is_said_by(self, text: str) -> bool:
        """Return whether the text says all of it, to the byte."""
        return self.count == len(self.head) and text.encode() == self.head

    async def artifact(self, shelf: ArtifactShelf, media_type: str) -> ArtifactRef:
        """Return the reference to all of the bytes."""
        await unblocked(self._append)
        return await shelf.put(self._path, media_type)

    async def whole(self) -> bytes:
        """Return all of the bytes: for who has to judge them, and knows that they are not too many."""
        if self.count == len(self.head):
            return self.head
        await unblocked(self._append)
        return await unblocked(lambda _: self._path.read_bytes())

    def _append(self, stop: Stop) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            file.write(self._held)
        self._held.clear()


def cut_to_fit(text: str, bytes_max: int) -> str:
    """Return the beginning of the text that is at most so long as JSON, where one character may become six bytes."""
    while (length := len(msgspec.json.encode(text)) - 2) > bytes_max:
        text = text[: min(len(text) - 1, len(text) * bytes_max // length)]
    return text


def fits(text: str) -> bool:
    """Return whether a result can hold the text."""
    return len(text) <= INLINE_BYTES_MAX and len(msgspec.json.encode(text)) - 2 <= INLINE_BYTES_MAX
