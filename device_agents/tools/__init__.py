"""What a device can do, by name. A pack is the tools of a kind of device, in a folder of its own."""

from protocol.vocabulary import Kind

from . import desktop, edge, mobile, server
from .base import Tool
from .files import FileDelete, FileRead, FileStat, FileWrite
from .folders import FileList
from .http import HttpRequest
from .network import NetPort
from .search import FileSearch
from .settings import Settings as Settings
from .shell import ShellRun
from .system import ProcessList, SystemEcho, SystemOverview


def tools_for(kind: Kind, settings: Settings | None = None) -> dict[str, Tool]:
    """Return the tools of a device of this kind: what every device can do, and its kind's own pack."""
    settings = settings or Settings()
    return {tool.name: tool for tool in (*_everywhere(), *_pack(kind, settings))}


def _everywhere() -> tuple[Tool, ...]:
    return (
        ShellRun(),
        FileRead(),
        FileWrite(),
        FileList(),
        FileSearch(),
        FileStat(),
        FileDelete(),
        HttpRequest(),
        NetPort(),
        SystemOverview(),
        ProcessList(),
        SystemEcho(),
    )


def _pack(kind: Kind, settings: Settings) -> tuple[Tool, ...]:
    match kind:
        case Kind.SERVER:
            return server.tools(settings.server)
        case Kind.DESKTOP:
            return desktop.tools(settings.desktop)
        case Kind.MOBILE:
            return mobile.tools(settings.mobile)
        case Kind.EDGE:
            return edge.tools(settings.edge)
