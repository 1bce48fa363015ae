"""What stands under `[edge]` in `agent.toml`."""

from msgspec import Struct


class EdgeSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of this pack need to know of the device."""
