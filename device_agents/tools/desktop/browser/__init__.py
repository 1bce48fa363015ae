"""The tools of a browser of the agent's own."""

from ...base import Tool
from ...http import resolved
from .acting import BrowserClick, BrowserDownload, BrowserFill
from .looking import BrowserClose, BrowserOpen, BrowserPdf, BrowserRead, BrowserScreenshot
from .sessions import Sessions
from .settings import BrowserSettings


def tools(settings: BrowserSettings) -> tuple[Tool, ...]:
    """Return them for a device with these settings. They share the browsers that are open."""
    sessions = Sessions(settings, resolved)
    return (
        BrowserOpen(sessions),
        BrowserRead(sessions),
        BrowserClick(sessions),
        BrowserFill(sessions),
        BrowserDownload(sessions),
        BrowserScreenshot(sessions),
        BrowserPdf(sessions),
        BrowserClose(sessions),
    )
