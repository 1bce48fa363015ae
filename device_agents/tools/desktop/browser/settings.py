"""What stands under `[desktop.browser]` in `agent.toml`."""

from msgspec import Struct


class BrowserSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of the browser need to know of the device."""
