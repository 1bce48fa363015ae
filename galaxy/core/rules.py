"""Standing rules: calls that a person has approved in advance, by tool, device, and what their arguments look like."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

ANY = re.compile(r"\*+")


class Rule(Struct, frozen=True, omit_defaults=True):
    """`pattern` is JSON of the same shape as the arguments; in its texts `*` stands for any characters."""

    id: str
    tool: str
    pattern: Raw
    device: str
    made_at: float
    expires_at: float
    by: str


def match(rules: Mapping[str, Rule], tool: str, arguments: Raw, device: str, at: float) -> Rule | None:
    """Return a rule that approves this call, or None."""
    for rule in rules.values():
        if rule.tool != tool or rule.device not in ("", device) or at >= rule.expires_at:
            continue
        if fits(msgspec.json.decode(rule.pattern), msgspec.json.decode(arguments)):
            return rule
    return None


def fits(pattern: Any, value: Any) -> bool:
    """Return whether a value looks like the pattern: the same keys, the same lengths, and texts that match.

    What the pattern does not mention is not approved, so a rule never lets through an argument that nobody thought of.
    """
    match pattern, value:
        case dict(), dict():
            return pattern.keys() == value.keys() and all(fits(pattern[key], value[key]) for key in pattern)
        case list(), list():
            return len(pattern) == len(value) and all(map(fits, pattern, value))
        case str(), str():
            return _text_fits(pattern, value)
    return type(pattern) is type(value) and bool(pattern == value)


def _text_fits(pattern: str, text: str) -> bool:
    """Find the pieces between the asterisks in order: linear, for the text may be as a device would have it."""
    first, *pieces = ANY.split(pattern)
    if not pieces:
        return text == pattern
    *middle, last = pieces
    if not (text.startswith(first) and text.endswith(last) and len(first) + len(last) <= len(text)):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True
