"""The tools of the mobile pack."""

from ..base import Tool
from .settings import MobileSettings


def tools(settings: MobileSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    return ()
