"""The tools of a browser of the agent's own."""

from ...base import Tool
from .settings import BrowserSettings


def tools(settings: BrowserSettings) -> tuple[Tool, ...]:
    """Return them for a device with these settings."""
    return ()
