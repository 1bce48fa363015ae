"""What a device can do, by name. A pack is the tools of a kind of device, in a folder of its own."""

from pathlib import Path

from protocol.vocabulary import Kind, Vitals

from . import desktop, edge, mcp, mobile, server
from .base import Tool
from .desktop.screen.vitals import screen_vitals
from .files import FileDelete, FileRead, FileStat, FileWrite
from .folders import FileList
from .http import HttpRequest
from .mobile.vitals import phone_vitals
from .network import NetPort
from .own import BadTools as BadTools
from .own import own_tools
from .search import FileSearch
from .settings import Settings as Settings
from .shell import ShellRun
from .system import ProcessList, SystemEcho, SystemOverview


def tools_for(kind: Kind, settings: Settings | None = None) -> dict[str, Tool]:
    """Return the tools of a device of this kind: what every one can do, its pack, its owner's own; raise BadTools."""
    settings = settings or Settings()
    tools: dict[str, Tool] = {
        tool.name: tool for tool in (*_everywhere(), *_pack(kind, settings), *mcp.tools(settings.mcp))
    }
    for tool in own_tools(map(Path, settings.own)):
        if tool.name in tools:
            raise BadTools(f"there is a tool {tool.name} already; call your own by another name")
        tools[tool.name] = tool
    return tools


def vitals_of(kind: Kind, settings: Settings) -> Vitals:
    """Return what the kind's own pack can tell of how the device is. It blocks, and never fails."""
    if kind is Kind.MOBILE:
        return phone_vitals(settings.mobile) or Vitals()
    if kind is Kind.DESKTOP:
        in_use, is_locked = screen_vitals(settings.desktop.screen)
        return Vitals(in_use=in_use, locked=is_locked)
    return Vitals()


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
