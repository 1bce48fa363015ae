"""What stands under `[mobile]` in `agent.toml`."""

from typing import Annotated

from msgspec import Meta, Struct

PhoneFolder = Annotated[str, Meta(pattern="^/[^\u0000]+$")]


class MobileSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of this pack need to know of the device: which phone it is, and what may be done with it."""

    serial: str = ""  # as `adb devices` tells it; where only one phone is attached, it need not be said
    connect: Annotated[str, Meta(pattern=r"^([^\s:]+:[0-9]{1,5})?$")] = (
        ""  # host:port of a phone that is on the network
    )
    adb_host: str = "127.0.0.1"  # of the adb server; one on this machine is started where none runs
    adb_port: Annotated[int, Meta(ge=1, le=65_535)] = 5037
    touch: bool = False  # whether taps, swipes, keys and text may be sent
    apps: tuple[str, ...] = ()  # patterns of packages that may be launched and stopped
    install: bool = False  # whether apps may be installed
    push: tuple[PhoneFolder, ...] = ("/sdcard/Download",)  # folders of the phone where files may be put
    pull: tuple[PhoneFolder, ...] = ("/sdcard/Download",)  # and from where they may be fetched
