"""What stands under `[mobile]` in `agent.toml`."""

from msgspec import Struct


class MobileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of this pack need to know of the device."""
