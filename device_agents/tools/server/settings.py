"""What stands under `[server]` in `agent.toml`."""

from typing import Annotated

from msgspec import Meta, Struct


class DatabaseSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A database that the SQL tools may ask, by the name of its table."""

    url: Annotated[str, Meta(pattern="^(sqlite:///|postgres(ql)?://)")]  # sqlite:////var/lib/shop.db
    write: bool = False
    superuser: bool = False  # whether the role in `url` may be one that reaches files and programs of the host


class SshSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A host that `ssh.run` may use, by the name of its table."""

    host: str
    host_key: str  # its public key, as in known_hosts: "ssh-ed25519 AAAA..."; no other is taken
    user: str
    key: str  # the file of this device's key for it, absolute, or ~/...
    port: Annotated[int, Meta(ge=1, le=65_535)] = 22
    programs: tuple[str, ...] = ()  # that may be run there; none by default, ("*",) for all


class ServerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What the tools of this pack need to know of the device."""

    databases: dict[str, DatabaseSettings] = {}
    ssh: dict[str, SshSettings] = {}
    docker_socket: str = "/var/run/docker.sock"
    docker_restart: tuple[str, ...] = ()  # containers that may be restarted, as patterns
    journal: str = ""  # a folder with systemd's journal, where it is not the system's own
    session_idle_s: Annotated[float, Meta(gt=0, le=86_400)] = 900
