"""What hostile input gets: a table of cases that are run as an agent runs them, and the table in `docs/security.md`.

A case is a call through `device_agents.work`, with what an attacker would have put there before. After each, nothing
lies outside of the work folder and nothing runs. What needs a browser, an X server or a phone has tests of its own.
"""

import ast
import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from device_agents.guard import Folders, Limits, Policy, ProgramRule, Web
from device_agents.tools import Settings, tools_for
from device_agents.tools.edge.settings import EdgeSettings, ModelSettings
from device_agents.work import Bench as Calls
from protocol.messages import Report
from protocol.vocabulary import Effect, Kind, Outcome
from tests.onnx_models import endless, reaching, too_warm

from .helpers import assign, worked
from .hostile import archives, repositories
from .tools.bench import Bench
from .tools.edge.stands import edge
from .tools.server.stands import Host, a_host, with_a_database
from .tools.site import Server, serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
GROUPS = [
    "Paths and links",
    "Programs and their arguments",
    "The web",
    "Archives",
    "XML and office files",
    "SQL and tables",
    "Sizes, patterns and time",
    "MCP servers",
    "Screens, pages and phones",
    "MQTT",
    "Models",
    "Artifacts and arguments",
    "The agent's brain",
    "Secrets",
    "Galaxy's side of the wire",
]

Arguments = Callable[[Bench], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A hostile call: `before` makes its arguments, and puts things in its way. `code` "" is a harmless success."""

    id: str
    tool: str
    before: Arguments | dict[str, Any]
    code: str = "denied"
    policy: Policy = field(default_factory=Policy)
    settings: Callable[[Bench], Settings] = lambda _: Settings()
    kind: Kind = Kind.SERVER
    effect: Effect = Effect.PURE
    gets: str = ""  # is found in the result or in the failure's message
    peer: Callable[[Bench], Any] | None = None


def read(path: str) -> dict[str, Any]:
    return {"path": path}


def linked(bench: Bench) -> dict[str, Any]:
    (bench.outside / "secret").write_text("geheim", "utf-8")
    (bench.work / "door").symlink_to(bench.outside)
    return read("door/secret")


def linked_to_write(bench: Bench) -> dict[str, Any]:
    (bench.work / "door").symlink_to(bench.outside)
    return {"path": "door/new", "content": "x"}


def in_circles(bench: Bench) -> dict[str, Any]:
    (bench.work / "a").symlink_to("b")
    (bench.work / "b").symlink_to("a")
    return read("a")


def a_fifo(bench: Bench) -> dict[str, Any]:
    os.mkfifo(bench.work / "fifo")
    return read("fifo")


def endless_file(bench: Bench) -> dict[str, Any]:
    with (bench.work / "hole").open("wb") as file:
        file.truncate(1 << 40)
    return read("hole")


def runs(*argv: str) -> dict[str, Any]:
    return {"argv": list(argv)}


def naming(*names: str, **rule: Any) -> Policy:
    return Policy(programs={name: ProgramRule(**rule) for name in names})


def asks(sql: str, **more: Any) -> dict[str, Any]:
    return {"database": "shop", "sql": sql, **more}


def a_table(text: str, sql: str, name: str = "t.csv") -> Arguments:
    def before(bench: Bench) -> dict[str, Any]:
        (bench.work / name).write_text(text, "utf-8")
        return {"tables": {"t": name}, "sql": sql}

    return before


def a_pattern(text: str) -> Arguments:
    def before(bench: Bench) -> dict[str, Any]:
        (bench.work / "lines.txt").write_text(text, "utf-8")
        return {"pattern": "^(a+)+$", "regex": True, "timeout_s": 0.5}

    return before


def lying_reference(bench: Bench) -> dict[str, Any]:
    ref = bench.shelf.keep(b"x" * 100)
    return {"path": "x", "artifact": {"$artifact": ref.sha256 + "/../../outside", "bytes": 100}}


def amplified(bench: Bench) -> dict[str, Any]:
    ref = msgspec.to_builtins(bench.shelf.keep(b"x" * (15 << 20), "text/plain"))
    return {"value": [ref] * 1_000}


def deep(bench: Bench) -> dict[str, Any]:
    value: Any = msgspec.to_builtins(bench.shelf.keep(b"x", "text/plain"))
    for _ in range(900):
        value = [value]
    return {"value": value}


def a_model(code: bytes) -> Callable[[Bench], Settings]:
    def settings(bench: Bench) -> Settings:
        (bench.outside.parent / "m.onnx").write_bytes(code)
        return Settings(edge=EdgeSettings(models={"m": ModelSettings(str(bench.outside.parent / "m.onnx"))}))

    return settings


@contextmanager
def a_site(bench: Bench) -> Iterator[Server]:
    with serving(Server("127.0.0.1")) as site:
        yield site


@contextmanager
def a_farm(bench: Bench) -> Iterator[Host]:
    folder = bench.outside.parent / "farm"
    folder.mkdir()
    with a_host(folder) as host:
        yield host


def on_the_site(path: str) -> Arguments:
    return lambda bench: {"url": bench.peer.url(path), "timeout_s": 10}


def at_the_farm(*programs: str) -> Callable[[Bench], Settings]:
    return lambda bench: bench.peer.settings(*programs)


ANY_PORT = Web(ports=tuple(range(1, 65_536)))
HOME = Policy(http=Web(ports=ANY_PORT.ports, private=True))
IN_TAR = naming("tar", arguments=("-?[a-z]+", r"[\w.]+"))
FROM_GUARD = "guard.toml"
ON_EDGE: dict[str, Any] = {"kind": Kind.EDGE, "settings": lambda _: Settings(edge=edge("mqtt://127.0.0.1:1"))}
IN_SHOP: dict[str, Any] = {"settings": with_a_database, "code": "database_error"}
AT_FARM: dict[str, Any] = {"peer": a_farm, "effect": Effect.ONCE}
EVIL = "http://169.254.169.254/latest/meta-data/"

CASES = [
    Case("dots", "file.read", read("../outside/x"), gets=FROM_GUARD),
    Case("absolute", "file.read", read("/etc/passwd"), gets=FROM_GUARD),
    Case("proc-root", "file.read", read("/proc/self/root/etc/passwd")),
    Case("proc-environ", "file.read", read("/proc/self/environ")),
    Case("descriptor", "file.read", read("/dev/fd/0")),
    Case("nul", "file.read", read("a\0b"), "bad_arguments"),
    Case("link-out", "file.read", linked),
    Case("link-out-write", "file.write", linked_to_write, effect=Effect.IDEMPOTENT),
    Case("link-circle", "file.read", in_circles, "not_found|denied|io_failed"),
    Case("fifo", "file.read", a_fifo, "not_a_file"),
    Case("device", "file.read", read("/dev/zero"), "not_a_file", Policy(folders=Folders(read=("/dev",)))),
    Case("work-folder", "file.delete", {"path": ".", "recursive": True}, effect=Effect.IDEMPOTENT),
    Case("log-elsewhere", "log.tail", read("/var/log/syslog")),
    Case("table-elsewhere", "data.query", {"tables": {"t": "/etc/passwd"}, "sql": "SELECT 1"}),
    Case("git-link-index", "git.commit", repositories.with_link("index"), effect=Effect.ONCE, gets="no setting"),
    Case("git-link-refs", "git.commit", repositories.with_link("refs"), effect=Effect.ONCE, gets="no setting"),
    Case("git-link-deep", "git.commit", repositories.with_link("refs/heads"), effect=Effect.ONCE, gets="no setting"),
    Case("unnamed", "shell.run", runs("id"), effect=Effect.ONCE, gets="[programs.id]"),
    Case("sh-c", "shell.run", runs("sh", "-c", "id"), policy=naming("sh"), gets="inline_code"),
    Case("find-exec", "shell.run", runs("find", ".", "-exec", "id", ";"), policy=naming("find"), gets="-exec"),
    Case("env", "shell.run", runs("env", "id"), policy=naming("env"), gets="inline_code"),
    Case("ld-so", "shell.run", runs("capsh", "--", "-c", "id"), policy=naming("capsh"), gets="inline_code"),
    Case("tar", "shell.run", runs("tar", "cf", "x", ".", "--to-command=id"), policy=naming("tar"), gets="arguments"),
    Case("tar-fenced", "shell.run", runs("tar", "cf", "x", "--checkpoint-action=exec=id", "."), policy=IN_TAR),
    Case("git-upload-pack", "shell.run", runs("git", "clone", "--upload-pack=id", "x"), policy=naming("git")),
    Case("ssh-proxy", "shell.run", runs("ssh", "-oProxyCommand=id", "host"), policy=naming("ssh"), gets="inline_code"),
    Case("sort", "shell.run", runs("sort", "--compress-program=id"), policy=naming("sort"), gets="arguments"),
    Case("preload", "shell.run", runs("ls") | {"env": {"LD_PRELOAD": "x.so"}}, policy=naming("ls"), gets="LD_PRELOAD"),
    Case("relative-program", "shell.run", runs("./ls"), policy=naming("ls"), gets="bare name"),
    Case("cwd-outside", "shell.run", runs("ls") | {"cwd": "/"}, policy=naming("ls")),
    Case("shell-line", "shell.run", {"shell": "id"}, effect=Effect.ONCE, gets="shell = true"),
    Case("git-option", "git.log", {"repository": ".", "revision": "--output=x"}, "bad_arguments"),
    Case("git-ext", "git.clone", {"source": "ext::sh -c id", "folder": "x"}, "not_found|not_a_repository"),
    Case("git-ssh", "git.clone", {"source": "ssh://-oProxyCommand=id/x", "folder": "x"}, "bad_arguments"),
    Case("git-filter", "git.status", repositories.with_filter, gets="filter"),
    Case("git-date", "git.log", repositories.with_no_date, "", gets='"at":0'),
    Case("ssh-quoting", "ssh.run", {"host": "farm", "argv": ["echo", "$(id); `id` | id"]}, "", gets="$(id); `id` | id",
         settings=at_the_farm("echo"), **AT_FARM),
    Case("ssh-assignment", "ssh.run", {"host": "farm", "argv": ["PATH=/x/a.sh", "id"]}, "bad_arguments",
         settings=at_the_farm("*.sh"), **AT_FARM),
    Case("ssh-dots", "ssh.run", {"host": "farm", "argv": ["/opt/tools/../../bin/id"]}, "bad_arguments",
         settings=at_the_farm("/opt/tools/*"), **AT_FARM),
    Case("metadata", "http.request", {"url": EVIL}, policy=Policy(http=Web(private=True)), gets="no setting"),
    Case("loopback", "http.request", {"url": "http://127.0.0.1/"}, gets="http.private"),
    Case("loopback-mapped", "http.request", {"url": "http://[::ffff:127.0.0.1]/"}, gets="http.private"),
    Case("loopback-number", "http.request", {"url": "http://2130706433/"}, "denied|bad_url"),
    Case("redirect-metadata", "http.request", on_the_site(f"/redirect/302/{EVIL}"), policy=HOME, peer=a_site,
         gets="169.254.169.254"),
    Case("redirect-file", "http.request", on_the_site("/redirect/302/file:///etc/x"), "bad_url", HOME, peer=a_site),
    Case("redirects", "http.request", on_the_site("/redirect/302/" * 7), "too_many_redirects", HOME, peer=a_site),
    Case("gzip-bomb", "http.request", on_the_site("/bomb"), "output_too_large", HOME, peer=a_site),
    Case("header-lines", "http.request", {"url": "http://x/", "headers": {"a": "b\r\nHost: c"}}, "bad_arguments"),
    Case("url-lines", "http.request", {"url": "http://x/ HTTP/1.1\r\nHost: c"}, "bad_url"),
    Case("zip-slip", "archive.unpack", archives.slip, "unsafe_archive"),
    Case("tar-link", "archive.unpack", archives.through_a_link, "", gets='"skipped":1'),
    Case("zip-bomb", "archive.unpack", archives.bomb, "too_large", Policy(limits=Limits(file_bytes=1 << 20))),
    Case("zip-bzip2-bomb", "archive.unpack", archives.bzip2_bomb, "bad_archive", gets="stored or deflated"),
    Case("tar-header-bomb", "archive.list", archives.header_bomb, "too_large", gets="than is read"),
    Case("tar-names", "archive.list", archives.long_names, "too_large", gets="than is read"),
    Case("tar-negative", "archive.list", archives.negative, "bad_archive"),
    Case("zip-directory-bomb", "archive.list", archives.directory_bomb, "too_large", gets="than is read"),
    Case("xz-dictionary", "archive.list", archives.wide_xz, "bad_archive", gets="emory"),
    Case("sql-write", "sql.query", asks("DELETE FROM parts"), **IN_SHOP),
    Case("sql-stacked", "sql.query", asks("SELECT 1; DELETE FROM parts"), **IN_SHOP),
    Case("sql-attach", "sql.query", asks("ATTACH 'x.db' AS x"), **IN_SHOP),
    Case("sql-pragma", "sql.query", asks("SELECT * FROM pragma_database_list"), **IN_SHOP),
    Case("sql-extension", "sql.query", asks("SELECT load_extension('x.so')"), **IN_SHOP),
    Case("sql-file", "sql.query", asks("SELECT readfile('/etc/passwd')"), **IN_SHOP),
    Case("sql-injected", "sql.query", asks("SELECT count(*) FROM parts WHERE name = ?", parameters=["' OR 1=1 --"]), "",
         settings=with_a_database, gets='"rows":[[0]]'),
    Case("sql-huge-cell", "sql.query", asks("SELECT zeroblob(900000000)"), gets="too big", **IN_SHOP),
    Case("sql-huge-row", "sql.query", asks("SELECT " + ", ".join(["zeroblob(9000000)"] * 600)), **IN_SHOP),
    Case("data-write", "data.query", a_table("a\n1\n", "DELETE FROM t"), "bad_query"),
    Case("data-attach", "data.query", a_table("a\n1\n", "ATTACH 'x' AS x"), "bad_query"),
    Case("data-deep-json", "data.query", a_table("[" * 100_000, "SELECT 1", "t.json"), "bad_file"),
    Case("file-hole", "file.read", endless_file, "too_large"),
    Case("log-hole", "log.tail", endless_file, "", gets='"lines":[]'),
    Case("redos", "file.search", a_pattern("a" * 40 + "!\n"), "timeout"),
    Case("mqtt-closed", "mqtt.publish", {"topic": "plant/stop", "payload": "1"}, gets="edge.publish", **ON_EDGE),
    Case("mqtt-wildcard", "mqtt.subscribe", {"topic": "#"}, gets="edge.subscribe", **ON_EDGE),
    Case("mqtt-sys", "mqtt.subscribe", {"topic": "$SYS/#"}, gets="edge.subscribe", **ON_EDGE),
    Case("mqtt-publish-wildcard", "mqtt.publish", {"topic": "home/#", "payload": "1"}, "bad_arguments", **ON_EDGE),
    Case("onnx-external", "onnx.run", {"model": "m", "inputs": {"x": [1]}}, "bad_model", kind=Kind.EDGE,
         settings=a_model(reaching("/etc/hostname"))),
    Case("onnx-cut", "onnx.run", {"model": "m"}, "bad_model", kind=Kind.EDGE, settings=a_model(too_warm(1)[:-40])),
    Case("onnx-foreign", "onnx.run", lambda bench: {"model": msgspec.to_builtins(bench.shelf.keep(endless()))},
         kind=Kind.EDGE, gets="foreign_models"),
    Case("artifact-name", "file.write", lying_reference, "bad_arguments"),
    Case("artifact-amplified", "system.echo", amplified, "too_large", gets="of one call"),
    Case("artifact-deep", "system.echo", deep, "bad_arguments"),
]  # fmt: skip


async def reported(case: Case, bench: Bench) -> Report:
    settings = case.settings(bench)
    tools = tools_for(case.kind, settings)
    calls = Calls(tools, bench.guard, bench.context.scratch.parent, bench.shelf)
    arguments = case.before if isinstance(case.before, dict) else case.before(bench)
    order = assign(effect=case.effect, tool=case.tool, arguments=arguments, run_s=20.0)
    return await worked(order, calls, lambda note, fraction: None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_harm_is_kept_out(tmp_path: Path, case: Case):
    bench = Bench(tmp_path, case.policy)
    with case.peer(bench) if case.peer else nullcontext() as bench.peer:
        report = asyncio.run(reported(case, bench))

    code = report.failure.code if report.failure else ""
    said = report.failure.message if report.failure else bytes(report.result).decode()
    assert code in case.code.split("|"), said
    assert case.gets in said
    assert report.outcome is (Outcome.FAILED if code else Outcome.SUCCEEDED)
    assert {path.name for path in bench.outside.iterdir()} <= {"secret", *repositories.OUTSIDE}
    assert not bench.context.scratch.parent.exists() or list(bench.context.scratch.parent.iterdir()) == []
    assert psutil.Process().children(recursive=True) == []


def test_there_are_enough_cases_and_each_has_a_name_of_its_own():
    assert len(CASES) >= 40
    assert len({case.id for case in CASES}) == len(CASES)


# The table in the manual.


def rows() -> list[tuple[str, str, str]]:
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in PAGE.splitlines() if line[:2] == "| "
    ]
    return [(row[0], row[1], row[2]) for row in cells if "::" in row[-1]]


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_manual_has_a_row_for_each_of_many_hostile_inputs_and_no_row_twice():
    told = rows()

    assert len(told) >= 60
    assert len({comes for comes, _, _ in told}) == len(told)
    assert [row for row in told if not all(row)] == []


def test_the_manual_has_all_groups_and_each_has_rows():
    parts = re.split(r"^### ", PAGE, flags=re.M)[1:]

    assert [part.partition("\n")[0] for part in parts] == GROUPS
    assert [part.partition("\n")[0] for part in parts if part.count("::") < 2] == []


def test_each_row_of_the_manual_names_a_test_that_is_there():
    for comes, _, test in rows():
        found = re.fullmatch(r"`([\w/]+\.py)::(test_\w+)(?:\[([\w-]+)\])?`", test)
        assert found, (comes, test)
        file, function, case = found.groups()
        assert function in functions_of(f"tests/{file}"), (comes, test)
        assert case is None or "test_hostile.py" not in file or case in {each.id for each in CASES}, (comes, test)


def test_each_case_stands_in_the_manual():
    told = {match for _, _, test in rows() for match in re.findall(r"\[([\w-]+)\]", test)}

    assert sorted({case.id for case in CASES} - told) == []
