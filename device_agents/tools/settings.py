"""What a device has, for its tools to know: `agent.toml`, beside `guard.toml`, which says what is allowed."""

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from .desktop.settings import DesktopSettings
from .edge.settings import EdgeSettings
from .mcp.settings import McpSettings
from .mobile.settings import MobileSettings
from .server.settings import ServerSettings

AGENT_FILE = "agent.toml"


VitalName = Literal[
    "load",
    "memory_free",
    "disk_free_bytes",
    "battery",
    "charging",
    "metered",
    "temperature_c",
    "in_use",
    "locked",
    "link_bytes_per_s",
]


class VitalsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What Galaxy is told of how the device is."""

    tell: tuple[VitalName, ...] = get_args(VitalName)
    metered: bool | None = None  # whether the network costs by the byte; no system is asked


class LabelSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How a label is found out when the agent starts, by the name of its table; in one of these ways."""

    program: str = ""  # "yes" if it is on the PATH, else "no"
    path: str = ""  # "yes" if there is something, else "no"
    env: str = ""  # what the variable says in the agent's environment


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in `agent.toml`: a table for each pack of tools. All of it has defaults."""

    own: tuple[str, ...] = ()  # files of the owner's own tools, relative to the folder of agent.toml
    vitals: VitalsSettings = VitalsSettings()
    labels: dict[Annotated[str, Meta(pattern=r"^[\w.~-]{1,64}$")], str | LabelSettings] = {}
    mcp: dict[Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,50}$")], McpSettings] = {}
    server: ServerSettings = ServerSettings()
    desktop: DesktopSettings = DesktopSettings()
    mobile: MobileSettings = MobileSettings()
    edge: EdgeSettings = EdgeSettings()


class BadSettings(ValueError):
    """An `agent.toml` that cannot be read, and why. The agent does not start with one."""


def load(folder: Path) -> Settings:
    """Return the settings in the folder, or the defaults where there is no file; raise BadSettings, OSError."""
    path = folder / AGENT_FILE
    if not path.exists():
        return Settings()
    try:
        document: Any = msgspec.toml.decode(path.read_bytes())
        found = msgspec.convert(document, Settings)
        mcp = {name: replace(each, cwd=str(folder / "work" / each.cwd)) for name, each in found.mcp.items()}
        return replace(found, own=tuple(str(folder / file) for file in found.own), mcp=mcp)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadSettings(f"{path}: {exc}") from exc
