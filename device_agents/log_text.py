"""What strangers say, in the lines of a log: it steers no terminal, and makes up no line."""

import io
import re
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return the text with its control characters and marks of direction written out; lines and tabs stay."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def visible_values(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return what is logged with each text visible. The renderer quotes lines, and leaves all else as it is."""
    return {name: visible(value) if isinstance(value, str) else value for name, value in line.items()}


def visible_traceback(target: TextIO, exc_info: Any) -> None:
    """Write the traceback; the words of an exception may be a stranger's."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    target.write(visible(written.getvalue()))
