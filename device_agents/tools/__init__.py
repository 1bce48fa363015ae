"""What a device can do, by name."""

from protocol.vocabulary import Kind

from .base import Tool
from .files import FileDelete, FileRead, FileStat, FileWrite
from .folders import FileList
from .http import HttpRequest
from .network import NetPort
from .search import FileSearch
from .shell import ShellRun
from .system import ProcessList, SystemEcho, SystemOverview


def tools_for(kind: Kind) -> dict[str, Tool]:
    """Return the tools of a device of this kind: today every kind has them all, and its guard decides."""
    tools: tuple[Tool, ...] = (
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
    return {tool.name: tool for tool in tools}
