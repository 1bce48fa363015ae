"""The tools of a desktop's screen: windows, pictures, pointer and keys, what accessibility tells."""

from ...base import Tool
from . import access
from .clipboard import ClipboardRead, ClipboardWrite
from .keyboard import KeyboardPress, KeyboardType
from .pointer import PointerClick, PointerScroll
from .settings import ScreenSettings
from .shots import ScreenShot, ScreenText
from .started import Programs, ProgramStart, ProgramStop
from .vitals import screen_vitals as screen_vitals
from .windows import WindowFocus, WindowList


def tools(settings: ScreenSettings) -> tuple[Tool, ...]:
    """Return them for a device with these settings."""
    programs = Programs()
    return (
        WindowList(settings),
        WindowFocus(settings),
        ScreenShot(settings),
        ScreenText(settings),
        PointerClick(settings),
        PointerScroll(settings),
        KeyboardType(settings),
        KeyboardPress(settings),
        ClipboardRead(settings),
        ClipboardWrite(settings),
        access.AccessTree(settings),
        access.AccessRead(settings),
        access.AccessSetText(settings),
        access.AccessPress(settings),
        ProgramStart(settings, programs),
        ProgramStop(settings, programs),
    )
