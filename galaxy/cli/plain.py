"""Words of others, made fit for a terminal: what devices and callers say must not move its cursor or set its title."""

import re

# All controls but tab and line end, and what turns the direction of writing.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
HIGH_CONTROLS = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069]")  # JSON escapes the low ones


def plain(text: str) -> str:
    """Return the text with its controls made visible."""
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def plain_json(text: str) -> str:
    """Return a JSON document that says the same, without controls."""
    return HIGH_CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
