"""The tools for office files, which need no office program."""

from ...base import Tool


def tools() -> tuple[Tool, ...]:
    """Return them."""
    return ()
