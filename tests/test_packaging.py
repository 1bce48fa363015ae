"""What is handed to others: the package's facts, the pinned dependencies, the image, and the demonstration in compose.

The files are read here, not run: a test of the system starts the same services as processes, from `commands_of`.
"""

import importlib
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

ROOT = Path(__file__).parent.parent

PACKAGES = ["protocol", "galaxy", "device_agents", "nebulabench"]
AGENTS = ["atlas", "desk", "rig"]
OURS = ["node", *AGENTS]
ENTRIES = {"galaxy": "galaxy.cli.__main__", "galaxy-agent": "device_agents.__main__"}

REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)")
PINNED = re.compile(r"^([a-z0-9-]+)==[\w.+!]+( ; .+)?$")
COMMAND = re.compile(r"\b(galaxy(?:-agent)? .*?)(?=\)|$)", re.MULTILINE)


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def services() -> dict[str, dict[str, Any]]:
    composed: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    return composed["services"]


def commands_of(service: dict[str, Any]) -> list[list[str]]:
    """Return each call of our programs that the service makes, as words, with what compose and the shell fill in."""
    if "entrypoint" not in service:
        return [service["command"]]
    script = service["entrypoint"][-1].replace("$$", "$")
    name, *options = service["command"]
    calls = [shlex.split(call) for call in COMMAND.findall(script)]
    filled = {"$0": [name], "$@": options}
    return [[word for piece in call for word in filled.get(piece, [piece])] for call in calls]


def requirements() -> list[str]:
    facts = project()
    return [*facts["project"]["dependencies"], *facts["dependency-groups"]["dev"]]


def normal(requirement: str) -> str:
    """Return the requirement's name as package indexes spell it."""
    name = REQUIREMENT.match(requirement)
    assert name
    return re.sub(r"[-_.]+", "-", name[1]).lower()


def test_the_package_says_its_licence_and_its_python():
    facts = project()["project"]

    assert (facts["license"], facts["license-files"], facts["requires-python"]) == ("Apache-2.0", ["LICENSE"], ">=3.11")
    assert (ROOT / "LICENSE").read_text("utf-8").split()[:4] == ["Apache", "License", "Version", "2.0,"]


def test_the_wheel_holds_the_four_packages_and_three_programs():
    facts = project()

    assert facts["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == PACKAGES
    assert sorted(facts["project"]["scripts"]) == ["galaxy", "galaxy-agent", "nebulabench"]
    assert all(entry.split(".")[0] in PACKAGES for entry in facts["project"]["scripts"].values())


def test_the_dependencies_are_sorted_and_have_a_lower_bound():
    facts = project()
    dependencies, dev = facts["project"]["dependencies"], facts["dependency-groups"]["dev"]

    assert [normal(line) for line in dependencies] == sorted(normal(line) for line in dependencies)
    assert [normal(line) for line in dev] == sorted(normal(line) for line in dev)
    assert [line for line in dependencies if ">=" not in line] == []


def test_the_constraints_pin_every_direct_dependency():
    pinned = {found[1] for line in constraints() if (found := PINNED.match(line))}

    assert {normal(line) for line in requirements()} - pinned == set()


def test_the_constraints_name_versions_and_no_host_or_path():
    assert [line for line in constraints() if not PINNED.match(line)] == []
    assert not re.search(r"://|--|@|file:", (ROOT / "constraints.txt").read_text("utf-8"))


def constraints() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def test_the_check_of_a_clone_runs_what_the_makefile_runs():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipes = dict(re.findall(r"^(\w+):.*?##.*\n((?:\t.+\n)+)", makefile, re.MULTILINE))
    targets = ("test", "lint", "types", "imports")
    expected = [line.strip() for target in targets for line in recipes[target].splitlines()]
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()

    assert [line for line in script if line.startswith("uv run ")] == expected
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_each_hook_before_a_commit_is_a_make_target():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    entries = [hook["entry"] for repo in hooks for hook in repo["hooks"]]

    assert [repo["repo"] for repo in hooks] == ["local"]
    assert entries == ["make lint", "make types", "make imports"]


def test_the_image_runs_as_an_ordinary_user_on_pinned_versions():
    lines = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "").splitlines()
    bases = [line for line in lines if line.startswith("FROM ")]
    last_stage = lines[lines.index(bases[-1]) :]

    assert all(base.split()[1] == "python:3.11-slim" for base in bases)
    assert [line for line in last_stage if line.startswith("USER ")] == ["USER galaxy"]
    assert any("pip install" in line and "--constraint constraints.txt" in line for line in lines)
    assert not any(line.startswith(("ADD ", "ARG ")) for line in lines)


def test_the_image_and_compose_ask_the_same_question_about_health():
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    asked = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", dockerfile, re.MULTILINE)

    assert asked
    assert ["CMD", *yaml.safe_load(asked[1])] == services()["node"]["healthcheck"]["test"]
    assert "http://127.0.0.1:8421/readyz" in asked[1]


def test_compose_has_a_database_a_node_and_three_agents():
    assert sorted(services()) == sorted(["postgres", *OURS])
    assert all(service["restart"] == "unless-stopped" for service in services().values())


@pytest.mark.parametrize("name", OURS)
def test_our_containers_share_one_image_and_hold_no_privilege(name: str):
    service = services()[name]

    assert (service["image"], service["build"], service["init"]) == ("galaxy:local", ".", True)
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
    assert not {"user", "privileged", "cap_add", "network_mode", "pid"} & set(service)
    assert service["volumes"] == [f"{name}:/var/lib/galaxy"]


def test_each_container_waits_until_what_it_needs_is_healthy():
    needs = {
        name: {needed: how["condition"] for needed, how in service.get("depends_on", {}).items()}
        for name, service in services().items()
    }

    assert needs == {
        "postgres": {},
        "node": {"postgres": "service_healthy"},
        **{agent: {"node": "service_healthy"} for agent in AGENTS},
    }
    assert "pg_isready" in services()["postgres"]["healthcheck"]["test"]
    assert all(services()[agent]["healthcheck"] == {"disable": True} for agent in AGENTS)


def test_only_the_node_is_published_and_only_to_this_machine():
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert ports == {"node": ["127.0.0.1:8421:8421"]}


def test_every_secret_in_compose_comes_from_outside():
    secrets = {
        (name, key): value
        for name, service in services().items()
        for key, value in service.get("environment", {}).items()
        if key.endswith(("TOKEN", "PASSWORD"))
    }

    assert len(secrets) == 1 + len(OURS)
    assert all(value.startswith(f"${{{key}:?") for (_, key), value in secrets.items())
    assert "${POSTGRES_PASSWORD:?}@postgres/" in " ".join(services()["node"]["command"])


def test_the_node_listens_where_the_agents_dial():
    node, [agent, *_] = services()["node"]["command"], [commands_of(services()[name]) for name in AGENTS]

    assert node[:6] == ["galaxy", "serve", "--host", "0.0.0.0", "--port", "8421"]
    assert "--insecure-listen" in node
    assert node[node.index("--database") + 1].startswith("postgresql+asyncpg://")
    assert agent[0] == ["galaxy", "token", "join", "--url", "http://node:8421"]
    assert agent[1][:3] == ["galaxy-agent", "join", "http://node:8421"]


@pytest.mark.parametrize("name", AGENTS)
def test_an_agent_joins_once_and_runs_without_the_api_token(name: str):
    service = services()[name]
    script = service["entrypoint"][-1]

    assert [call[:2] for call in commands_of(service)] == [
        ["galaxy", "token"],
        ["galaxy-agent", "join"],
        ["galaxy-agent", "run"],
    ]
    assert service["command"][0] == name
    assert script.startswith("if [ ! -e joined ]; then\n")
    assert script.splitlines()[-1].startswith("exec env -u GALAXY_TOKEN galaxy-agent run ")


@pytest.mark.parametrize("name", OURS)
def test_every_option_in_compose_is_one_that_the_program_has(name: str):
    unknown = [
        f"{' '.join(call)}: {word}"
        for call in commands_of(services()[name])
        for word in call
        if word.startswith("--") and word not in options_of(call)
    ]

    assert unknown == []


def options_of(call: list[str]) -> set[str]:
    """Return the options that the program's own command line declares for this call."""
    program, *words = call
    command = typer.main.get_command(importlib.import_module(ENTRIES[program]).app)
    while subcommands := getattr(command, "commands", None):
        word, *words = words
        assert word in subcommands, f"{program} has no command {word}, only {sorted(subcommands)}"
        command = subcommands[word]
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
