"""The tools of the desktop pack."""

from ..base import Tool
from . import browser, office, screen
from .settings import DesktopSettings


def tools(settings: DesktopSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    return (*screen.tools(settings.screen), *browser.tools(settings.browser), *office.tools())
