"""The tools of the server pack."""

from ..base import Tool
from .archive import ArchiveList, ArchivePack, ArchiveUnpack
from .data import DataQuery
from .docker import DockerList, DockerLogs, DockerRestart
from .git_changing import GitClone, GitCommit
from .git_looking import GitDiff, GitLog, GitStatus
from .logs import LogJournal, LogTail, ServiceStatus
from .sessions import ShellSession
from .settings import ServerSettings
from .sql import SqlExecute, SqlQuery
from .ssh import SshRun


def tools(settings: ServerSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    return (
        GitStatus(),
        GitDiff(),
        GitLog(),
        GitClone(),
        GitCommit(),
        ArchivePack(),
        ArchiveList(),
        ArchiveUnpack(),
        DataQuery(),
        SqlQuery(settings.databases),
        SqlExecute(settings.databases),
        ShellSession(settings.session_idle_s),
        LogTail(),
        LogJournal(settings.journal),
        ServiceStatus(),
        SshRun(settings.ssh),
        DockerList(settings),
        DockerLogs(settings),
        DockerRestart(settings),
    )
