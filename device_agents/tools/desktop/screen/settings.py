"""What stands under `[desktop.screen]` in `agent.toml`."""

from msgspec import Struct


class ScreenSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of the screen need to know of the device."""
