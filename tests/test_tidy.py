"""House rules that no linter knows.

An exception is listed with its reason, and one that nothing needs any more is an error: the lists only shrink.
"""

import ast
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PACKAGES = ("protocol", "galaxy", "device_agents", "nebulabench")
FOLDERS = {*PACKAGES, "tests", "docs", "examples", ".ci"}
FILES = {
    ".dockerignore",
    ".gitignore",
    ".pre-commit-config.yaml",
    "AGENTS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "constraints.txt",
    "docker-compose.yml",
    "pyproject.toml",
}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
TEST_NAME_UNDERSCORES_MIN = 4

# Such a name says how a class is built, or nothing, where it should say what it is.
VAGUE_NAME = re.compile(r"(Manager|Helper|Utils?|Processor|Handler|Impl|Data|Info)$|^(Base|Abstract|I)[A-Z][a-z]")

COMMAND_LINES = ("galaxy/cli/*", "device_agents/__main__.py", "nebulabench/__main__.py")

# Exceptions: a path, or a pattern of paths -> why it is right there.
Exceptions = dict[str, str]

LONG_FILES: Exceptions = {}
LONG_FUNCTIONS: Exceptions = {}
VAGUE_NAMES: Exceptions = {}
CALLS: dict[str, Exceptions] = {
    "sleep": {
        "device_agents/agent.py": "the back-off before dialling again",
        "device_agents/services.py": "the pauses before a service is begun again",
        "device_agents/shelf.py": "the pauses before a broken transfer goes on",
        "device_agents/vitals.py": "no system tells of a battery by itself",
        "galaxy/cli/local.py": "looks whether processes are there; they tell nobody",
        "galaxy/cli/second_act.py": "plays a planner that takes its time",
        "galaxy/node.py": "measures the loop's lag",
        "galaxy/runner.py": "the schedule by which a store in trouble is tried again",
        "nebulabench/cluster/namespaces.py": "looks whether processes are there; they tell nobody",
        "nebulabench/cluster/processes.py": "looks whether processes are there; they tell nobody",
        "nebulabench/cluster/proxy.py": "the latency and the rate of a link, which are what it is for",
        "nebulabench/crowd.py": "the back-off before dialling again",
        "nebulabench/recovery.py": "looks at processes, which tell nobody, and lets links last for a while",
        "nebulabench/cut.py": "plays a planner that takes its time",
        "nebulabench/dispatch.py": "looks whether a run has ended, seldom, so as not to disturb it",
        "nebulabench/world/*": "in virtual time nobody waits",
        "tests/device_agents/tools/mcp/*_server.py": "a server that takes long is what is under test",
        "tests/simulation/test_loop.py": "in virtual time nobody waits",
        "nebulabench/soak.py": "the moments between two kills are what is under test",
    },
    "create_task": {
        "device_agents/agent.py": "the one group: the dialling, the clock, the probes, a task for each call",
        "device_agents/calls.py": "a task for each call, in the agent's group",
        "device_agents/health.py": "the group of all probes: one that hangs holds up no other",
        "device_agents/services.py": "the services of the tools, beside the agent and ended with it",
        "device_agents/tools/desktop/browser/session.py": "what the browser's library cannot stop in the middle",
        "device_agents/tools/desktop/browser/sessions.py": "ends a browser that was idle for long",
        "device_agents/tools/desktop/screen/started.py": "each started program: reads what it says, and ends it",
        "device_agents/tools/edge/broker.py": "connects to the end, so that a cancelled call can leave no connection",
        "device_agents/tools/edge/series.py": "listens for news while it looks, so that none falls between",
        "device_agents/tools/mcp/discovery.py": "the group of all servers at the start: a silent one delays no other",
        "device_agents/tools/mcp/server.py": "a connection has scopes that must be left in the task that entered them",
        "device_agents/tools/mcp/stdio.py": "the pipes of one server, each read by itself, to the end whatever comes",
        "galaxy/node.py": "the node's one group: the runner beside the server",
        "galaxy/planner/consult.py": "the group of all questions: a task for each, to be cancelled by itself",
        "galaxy/runner.py": "the two halves of the loop",
        "tests/*": "each in a group of its test, beside what is tested",
        "device_agents/tools/running.py": "the group of one program, here or elsewhere: its two outputs",
        "device_agents/tools/server/sessions.py": "ends a shell that was idle for long",
        "device_agents/tools/program.py": "the group of one program: its two outputs are read side by side",
        "nebulabench/cluster/proxy.py": "the group of one connection: its two directions",
        "nebulabench/crowd.py": "the group of all devices of one process",
        "nebulabench/world/*": "a simulated process holds its tasks, so that it can be killed with them",
        "nebulabench/cluster/run.py": "the group of one cell: its story beside its processes",
        "protocol/link.py": "the group of one link: its reader beside its writer",
    },
    "ensure_future": {},
    "gather": {"tests/protocol/test_link.py": "the two directions of a wire that freezes"},
    "to_thread": {"galaxy/artifacts.py": "bytes to the disk, and their hash"},
}
CATCH_ALLS: Exceptions = {
    "device_agents/calls.py": "stands between a call and its task, and hands on whatever is thrown into it",
    "device_agents/health.py": "a probe's bug is its tool's failure, never the agent's end",
    "device_agents/services.py": "a service's bug must not end the agent",
    "device_agents/tools/edge/onnx.py": "the library that runs models has no error of its own for all of it",
    "device_agents/tools/mcp/server.py": "a server can make the library fail in any way",
    "device_agents/work.py": "a tool's bug is its call's failure, never the agent's end",
    "galaxy/planner/consult.py": "a planner's bug closes its question, never the node",
    "nebulabench/world/loop.py": "as a loop of asyncio does: what falls out of a callback is told, and ends nothing",
}
MACHINE_PATHS: Exceptions = {}
UNUSED_NAMES: Exceptions = {  # `path::name`, for what is called by its spelling or its place and not by our code
    "galaxy/store/migrations/versions/*": "Alembic looks for these names",
}

# In halves or as patterns, so that this file does not find itself.
UNFINISHED = re.compile(rf"\b({'TO' + 'DO'}|{'FIX' + 'ME'}|{'X' * 3})\b")
MACHINE_PATH = re.compile(r"(?<![\w.~$}/-])/(?:home|root|Users|work|workspace)/[\w.]+")
REGISTRY_HOSTS = "|".join(
    ("py" + "pi", "python" + "hosted", "regis" + "try", "arti" + "factory", "nex" + "us", "mir" + "ror")
)
REGISTRY = re.compile(rf"https?://[^/\s\"']*(?:{REGISTRY_HOSTS})[^\s\"')]*", re.I)
LOCKED_REGISTRY = re.compile(r'registry = "https?://([^/"]+)')

Found = dict[str, list[str]]  # path -> what breaks the rule there, a line each


def test_no_file_is_longer_than_a_reader_can_hold():
    found = defaultdict(list)
    for path in sources():
        if (lines := text_of(path).count("\n")) > FILE_LINES_MAX:
            found[path].append(f"{path}: {lines} lines, at most {FILE_LINES_MAX}")

    assert_kept(found, LONG_FILES)


def test_no_function_is_longer_than_a_screen():
    found = defaultdict(list)
    for path, node in nodes(sources()):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                found[path].append(f"{path}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}")

    assert_kept(found, LONG_FUNCTIONS)


def test_no_class_has_a_name_that_says_nothing():
    found = defaultdict(list)
    for path, node in nodes(sources()):
        if isinstance(node, ast.ClassDef) and VAGUE_NAME.search(node.name):
            found[path].append(f"{path}:{node.lineno}: {node.name} does not say what it is")

    assert_kept(found, VAGUE_NAMES)


def test_every_module_says_what_it_is_for():
    found = defaultdict(list)
    for path in sources():
        if tree_of(path).body and not ast.get_docstring(tree_of(path)):
            found[path].append(f"{path}:1: no docstring that says what the module is for")

    assert_kept(found, {})


def test_waiting_and_starting_work_happen_only_where_listed():
    for name, listed in CALLS.items():
        found = defaultdict(list)
        for path, node in nodes(sources()):
            match node:
                case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called)) if called == name:
                    found[path].append(f"{path}:{node.lineno}: calls {name}")

        assert_kept(found, listed)


def test_nothing_catches_every_exception_unless_listed():
    found = defaultdict(list)
    for path, node in nodes(sources()):
        if catches_everything(node):
            found[path].append(f"{path}:{node.lineno}: catches everything; name what is expected")

    assert_kept(found, CATCH_ALLS)


def test_only_the_command_lines_print_anything():
    found = defaultdict(list)
    for path, node in nodes(package_files()):
        match node:
            case ast.Call(func=ast.Name(id="print")) if not is_listed(path, COMMAND_LINES):
                found[path].append(f"{path}:{node.lineno}: prints; a log line or an event says it to whoever listens")

    assert_kept(found, {})


def test_every_public_name_is_used_by_someone_else():
    """A test is a user too: what no layer calls yet is at least held to its word."""
    uses = {path: names_used_in(tree_of(path)) for path in sources()}
    uses["pyproject.toml"] = set(re.findall(r"\w+", text_of("pyproject.toml")))
    found = defaultdict(list)
    for path in package_files():
        elsewhere: set[str] = set().union(*(names for other, names in uses.items() if other != path))
        for name, definition in public_names(path):
            around = [node for node in tree_of(path).body if node is not definition]
            if name not in elsewhere and name not in names_used_in(*around):
                found[f"{path}::{name}"].append(f"{path}:{definition.lineno}: {name} has no user")

    assert_kept(found, UNUSED_NAMES)


def test_every_test_name_is_a_sentence():
    found = defaultdict(list)
    for path, node in nodes(files_of_tests()):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
                if name.count("_") < TEST_NAME_UNDERSCORES_MIN:
                    found[path].append(f"{path}:{node.lineno}: {name} does not say what happens")

    assert_kept(found, {})


def test_no_kept_file_names_a_path_of_one_machine():
    here = re.compile(rf"{re.escape(str(ROOT))}\b")
    assert_kept(found_in_kept_files(MACHINE_PATH, *([here] if len(ROOT.parts) > 2 else [])), MACHINE_PATHS)


def test_no_kept_file_names_a_package_registry():
    lock = ROOT / "uv.lock"  # never kept, because it names them
    hosts = set(LOCKED_REGISTRY.findall(lock.read_text("utf-8"))) if lock.exists() else set()

    assert_kept(found_in_kept_files(REGISTRY, *(re.compile(re.escape(host)) for host in hosts)), {})


def test_nothing_is_left_for_a_later_day():
    assert_kept(found_in_kept_files(UNFINISHED), {})


def test_the_top_level_holds_what_the_map_says():
    kept = kept_files()
    folders = {path.split("/")[0] for path in kept if "/" in path}
    files = {path for path in kept if "/" not in path}

    assert (sorted(folders ^ FOLDERS), sorted(files ^ FILES)) == ([], []), "unexpected, or missing"


# How the rules look at the code.


def assert_kept(found: Found, listed: Exceptions) -> None:
    """Fail with what breaks the rule and is not listed, and with what is listed and breaks nothing."""
    broken = [line for path, lines in found.items() if not is_listed(path, listed) for line in lines]
    idle = [pattern for pattern in listed if not any(fnmatch(path, pattern) for path in found)]
    broken += [f"{pattern}: is a listed exception that nothing needs; take it off the list" for pattern in idle]
    if broken:
        pytest.fail("\n".join(broken), pytrace=False)


def is_listed(path: str, patterns: Exceptions | tuple[str, ...]) -> bool:
    return any(fnmatch(path, pattern) for pattern in patterns)


def package_files() -> list[str]:
    return [path for name in PACKAGES for path in python_files(name)]


def files_of_tests() -> list[str]:
    return python_files("tests")


def sources() -> list[str]:
    return package_files() + files_of_tests()


def python_files(folder: str) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*.py"))


@cache
def kept_files() -> list[str]:
    """Return what git keeps or would keep."""
    trusting = ["git", "-c", f"safe.directory={ROOT}"]  # the clone may belong to another user, as in a container
    command = [*trusting, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return sorted(path for path in listing.split("\0") if (ROOT / path).is_file())


@cache
def text_of(path: str) -> str:
    return (ROOT / path).read_text("utf-8", errors="ignore")


@cache
def tree_of(path: str) -> ast.Module:
    return ast.parse(text_of(path), path)


def nodes(paths: list[str]) -> Iterator[tuple[str, ast.AST]]:
    for path in paths:
        for node in ast.walk(tree_of(path)):
            yield path, node


def catches_everything(node: ast.AST) -> bool:
    match node:
        case ast.ExceptHandler(body=[*_, ast.Raise(exc=None)]):
            return False  # it tidies up and lets the exception go on
        case ast.ExceptHandler(type=None):
            return True
        case ast.ExceptHandler(type=ast.Tuple(elts=caught)) | ast.Call(func=ast.Name(id="suppress"), args=caught):
            pass
        case ast.ExceptHandler(type=kind):
            caught = [kind]
        case _:
            return False
    return any(ast.unparse(kind) in {"Exception", "BaseException"} for kind in caught)


def public_names(path: str) -> Iterator[tuple[str, ast.stmt]]:
    """Yield each public name of the module with its definition, but for functions that a decorator registers."""
    for node in tree_of(path).body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                names = [] if any(map(is_registration, node.decorator_list)) else [node.name]
            case ast.ClassDef():
                names = [node.name]
            case ast.Assign():
                names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from ((name, node) for name in names if not name.startswith("_"))


def is_registration(decorator: ast.expr) -> bool:
    """Return whether the decorator hands the function to somebody, as `app.command()` and `router.get(...)` do."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(called, ast.Attribute)


def names_used_in(*trees: ast.AST) -> set[str]:
    """Return the names that are read, imported, or written in a string as an annotation or an `app:name` is."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                names.add(name)
            case ast.ImportFrom():
                names.update(alias.name for alias in node.names)
            case ast.Constant(value=str(text)) if " " not in text:
                names.update(re.findall(r"\w+", text))
    return names


def found_in_kept_files(*patterns: re.Pattern[str]) -> Found:
    found = defaultdict(list)
    for path in kept_files():
        for number, line in enumerate(text_of(path).splitlines(), 1):
            found[path] += [f"{path}:{number}: {hit[0]}" for pattern in patterns if (hit := pattern.search(line))]
    return {path: lines for path, lines in found.items() if lines}
