"""One example of each tool of the server's pack."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from device_agents.guard import Policy
from device_agents.tools import Settings
from protocol.vocabulary import Effect

from ..bench import Bench
from ..examples import Example, outside
from .stands import FOR_EVER, Host, a_host, a_repository, with_a_database


def no_docker() -> str:
    return "" if Path("/var/run/docker.sock").is_socket() else "no Docker runs on this machine"


def no_systemd() -> str:
    return "" if Path("/run/systemd/system").is_dir() else "this machine was not started by systemd"


def no_journal() -> str:
    lies = any(next(Path(each).rglob("*.journal"), None) for each in ("/var/log/journal", "/run/log/journal"))
    return "" if lies and shutil.which("journalctl") else "this machine has no journal of systemd"


def repository(bench: Bench) -> dict[str, Any]:
    a_repository(bench.work / "plans")
    return {"repository": "plans"}


def a_zip(bench: Bench) -> dict[str, Any]:
    with zipfile.ZipFile(bench.work / "x.zip", "w") as archive:
        archive.writestr("one/two.txt", "three")
    return {"path": "x.zip"}


def a_table(bench: Bench) -> dict[str, Any]:
    (bench.work / "parts.csv").write_text("name,price\nbolt,0.5\n", "utf-8")
    return {"tables": {"parts": "parts.csv"}}


def a_log(bench: Bench) -> dict[str, Any]:
    (bench.work / "x.log").write_text("one\ntwo\n", "utf-8")
    return {"path": "x.log"}


@contextmanager
def a_host_beside(bench: Bench) -> Iterator[Host]:
    with a_host(bench.outside) as host:
        yield host


def at_the_host(bench: Bench) -> Settings:
    return bench.peer.settings("true", "sleep") if bench.peer else Settings()


FREE = Policy(shell=True)  # noqa: S604  # a policy, and no call
ELSEWHERE = "outside of the folders"

EXAMPLES: dict[str, Example] = {
    "git.status": Example(Effect.PURE, works=repository, refused=lambda bench: {"repository": str(bench.outside)}),
    "git.diff": Example(Effect.PURE, works=repository, refused=lambda bench: {"repository": str(bench.outside)}),
    "git.log": Example(Effect.PURE, works=repository, refused=lambda bench: {"repository": str(bench.outside)}),
    "git.clone": Example(
        Effect.IDEMPOTENT,
        works=lambda bench: {"source": repository(bench)["repository"], "folder": "copy"},
        refused=lambda bench: {"source": "http://127.0.0.1/x.git", "folder": "copy"},
    ),
    "git.commit": Example(
        Effect.ONCE,
        works=lambda bench: repository(bench) | {"message": "More"},
        refused=lambda bench: {"repository": str(bench.outside), "message": "More"},
    ),
    "archive.pack": Example(Effect.PURE, works=lambda bench: {"path": "."}, refused=outside),
    "archive.list": Example(Effect.PURE, works=a_zip, refused=outside),
    "archive.unpack": Example(
        Effect.IDEMPOTENT,
        works=lambda bench: a_zip(bench) | {"folder": "y"},
        refused=lambda bench: a_zip(bench) | {"folder": str(bench.outside)},
    ),
    "data.query": Example(
        Effect.PURE,
        works=lambda bench: a_table(bench) | {"sql": "SELECT name FROM parts"},
        refused=lambda bench: {"tables": {"x": str(bench.outside / "x.csv")}, "sql": "SELECT 1"},
        slow=lambda bench: a_table(bench) | {"sql": FOR_EVER},
    ),
    "sql.query": Example(
        Effect.PURE,
        works=lambda bench: {"database": "shop", "sql": "SELECT * FROM parts"},
        refused=lambda bench: {"database": "other", "sql": "SELECT 1"},
        slow=lambda bench: {"database": "shop", "sql": FOR_EVER},
        settings=with_a_database,
    ),
    "sql.execute": Example(
        Effect.ONCE,
        works=lambda bench: {"database": "shop", "sql": "DELETE FROM parts"},
        refused=lambda bench: {"database": "other", "sql": "DELETE FROM parts"},
        slow=lambda bench: {"database": "shop", "sql": FOR_EVER},
        settings=lambda bench: with_a_database(bench, write=True),
    ),
    "shell.session": Example(
        Effect.ONCE,
        works=lambda bench: {"session": "s", "shell": "true", "close": True},
        policy=FREE,
        refused=lambda bench: {"session": "s", "shell": "true"},
        slow=lambda bench: {"session": "s", "shell": "sleep 60"},
    ),
    "log.tail": Example(Effect.PURE, works=a_log, refused=outside),
    "log.journal": Example(Effect.PURE, works=lambda bench: {}, needs=no_journal),
    "service.status": Example(Effect.PURE, works=lambda bench: {"unit": "-.slice"}, needs=no_systemd),
    "ssh.run": Example(
        Effect.ONCE,
        works=lambda bench: {"host": "farm", "argv": ["true"]},
        peer=a_host_beside,
        refused=lambda bench: {"host": "farm", "argv": ["rm", "x"]},
        slow=lambda bench: {"host": "farm", "argv": ["sleep", "60"]},
        settings=at_the_host,
    ),
    "docker.list": Example(Effect.PURE, works=lambda bench: {}, needs=no_docker),
    "docker.logs": Example(Effect.PURE, works=lambda bench: {"container": "galaxy-test"}, needs=no_docker),
    "docker.restart": Example(
        Effect.ONCE,
        works=lambda bench: {"container": "galaxy-test"},
        refused=lambda bench: {"container": "galaxy-test"},
        needs=no_docker,
    ),
}
