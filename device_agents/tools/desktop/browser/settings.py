"""What stands under `[desktop.browser]` in `agent.toml`."""

from typing import Annotated

from msgspec import Meta, Struct


class BrowserSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of the browser need to know of the device."""

    chromium: str = ""  # the program, absolute, or ~/...; empty: the first of the usual names on the PATH
    sandbox: bool = True  # Chromium's own; it cannot have one where the agent runs as root
    idle_s: Annotated[float, Meta(gt=0, le=86_400)] = 600
    sessions_max: Annotated[int, Meta(ge=1, le=16)] = 3  # a browser each, some hundred megabytes
