"""What stands under `[server]` in `agent.toml`."""

from msgspec import Struct


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of this pack need to know of the device."""
