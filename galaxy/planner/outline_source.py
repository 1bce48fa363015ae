"""The text of an outline, and the way back from an offset to a line and a column."""

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from .steps import Mark, fault

OUTLINE_CHARS_MAX = 100_000  # YAML takes a second for so much

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Source:
    """A text that is not too long and that every store can keep. Lines end at a line feed."""

    text: str
    starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        starts = [0, *(index + 1 for index, char in enumerate(self.text) if char == "\n")]
        object.__setattr__(self, "starts", starts)
        if len(self.text) > OUTLINE_CHARS_MAX:
            message = f"an outline of {len(self.text)} characters: write at most {OUTLINE_CHARS_MAX}"
            raise fault(message, self.mark(OUTLINE_CHARS_MAX))
        if found := _NO_TEXT.search(self.text):
            raise fault(f"{found[0]!r} is no text: leave it out", self.mark(found.start()))

    @property
    def end(self) -> Mark:
        return self.mark(len(self.text))

    def mark(self, offset: int) -> Mark:
        """Return where this offset is; one beyond the text is its end."""
        offset = min(max(offset, 0), len(self.text))
        line = bisect_right(self.starts, offset)
        return Mark(line, offset - self.starts[line - 1] + 1)

    def find(self, piece: str, start: int, end: int) -> Mark:
        """Return where the piece first stands between two offsets, or the first of them."""
        return self.mark(max(self.text.find(piece, start, end), start))
