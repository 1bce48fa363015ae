"""The tools of the edge pack."""

from ..base import Tool
from .settings import EdgeSettings


def tools(settings: EdgeSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    return ()
