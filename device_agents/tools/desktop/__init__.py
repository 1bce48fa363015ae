"""The tools of the desktop pack."""

from ..base import Tool
from .settings import DesktopSettings


def tools(settings: DesktopSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    return ()
