"""What stands under `[desktop]` in `agent.toml`."""

from msgspec import Struct

from .browser.settings import BrowserSettings
from .screen.settings import ScreenSettings


class DesktopSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of this pack need to know of the device."""

    screen: ScreenSettings = ScreenSettings()
    browser: BrowserSettings = BrowserSettings()
