"""The tools of the server pack."""

from ..base import Tool
from .settings import ServerSettings


def tools(settings: ServerSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    return ()
