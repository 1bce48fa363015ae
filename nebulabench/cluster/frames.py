"""Takes a byte stream apart where a cut makes a difference: at the frames of a WebSocket."""

from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
DEVICES_DOOR = (b"GET /v1/agent", b"HTTP/1.1 101")  # how a session's two directions begin
CLOSE = 8
EXTENDED = {126: 2, 127: 8}


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of the stream; `text` is what a frame says, without its mask."""

    raw: bytes
    text: bytes = b""
    is_frame: bool = False
    is_close: bool = False


class Frames:
    """One direction of one connection. What is no session's passes as it comes."""

    def __init__(self) -> None:
        self.is_session: bool | None = None  # unknown before the first line has come
        self._rest = b""
        self._in_head = True

    def fed(self, data: bytes) -> list[Piece]:
        """Return the pieces that are whole."""
        if self.is_session is False:
            return [Piece(data, data)]
        self._rest += data
        pieces: list[Piece] = []
        if self._in_head:
            if any(door.startswith(self._rest) for door in DEVICES_DOOR):
                return []  # too few bytes to tell
            self.is_session = self._rest.startswith(DEVICES_DOOR)
            if not self.is_session:
                rest, self._rest = self._rest, b""
                return [Piece(rest, rest)]
            head, found, rest = self._rest.partition(HEAD_END)
            if not found:
                return []
            self._in_head, self._rest = False, rest
            pieces.append(Piece(head + found))
        while piece := self._next():
            pieces.append(piece)
        return pieces

    def _next(self) -> Piece | None:
        data = self._rest
        if len(data) < 2:
            return None
        masked, length, begin = data[1] & 0x80, data[1] & 0x7F, 2
        if more := EXTENDED.get(length, 0):
            length, begin = int.from_bytes(data[2 : 2 + more], "big"), 2 + more
        key = data[begin : begin + 4] if masked else b""
        begin += len(key)
        end = begin + length
        if len(data) < end or (masked and len(key) < 4) or len(data) < 2 + more:
            return None
        self._rest = data[end:]
        text = data[begin:end]
        if masked:
            text = _unmasked(text, key)
        return Piece(data[:end], text, is_frame=True, is_close=data[0] & 0x0F == CLOSE)


def _unmasked(text: bytes, key: bytes) -> bytes:
    stream = (key * (len(text) // 4 + 1))[: len(text)]
    return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(text), "big")
