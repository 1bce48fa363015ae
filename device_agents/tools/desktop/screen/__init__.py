"""The tools of a desktop's screen: windows, pictures, pointer and keys, what accessibility tells."""

from ...base import Tool
from .settings import ScreenSettings


def tools(settings: ScreenSettings) -> tuple[Tool, ...]:
    """Return them for a device with these settings."""
    return ()
