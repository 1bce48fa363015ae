"""The services of docker-compose.yml as processes: the same commands, in the same order, without a container engine."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from galaxy.cli.local import LocalGalaxy, local_galaxy
from tests.servers import PostgresServer
from tests.test_packaging import AGENTS, commands_of, services

# What differs outside containers: names of other containers, and the port that is taken.
ELSEWHERE = {"--host", "--port", "--database"}


def options_of(command: list[str]) -> dict[str, list[str]]:
    """Return the options of a command with their values, in order."""
    options: dict[str, list[str]] = {}
    for word in command:
        if word.startswith("--"):
            options[word] = []
        elif options:
            options[next(reversed(options))].append(word)
    return options


def serve_options() -> list[str]:
    [command] = commands_of(services()["node"])
    assert command[:2] == ["galaxy", "serve"]
    found = options_of(command[2:])
    assert found.keys() >= ELSEWHERE
    return [word for name, values in found.items() if name not in ELSEWHERE for word in (name, *values)]


def add(galaxy: LocalGalaxy, name: str) -> None:
    """Do what the agent's container does: mint a token, join, run."""
    mint, join, run = commands_of(services()[name])
    assert mint[:3] == ["galaxy", "token", "join"]
    assert join[:2] == ["galaxy-agent", "join"]
    assert join[join.index("--name") + 1] == name
    options = run[run.index("run") + 1 :]
    galaxy.add_agent(name, *options[2:])  # but for --state DIR, which is the container's own folder


@pytest.mark.timeout(90)
def test_the_services_of_compose_run_a_constellation_on_postgresql(tmp_path: Path, postgres: PostgresServer):
    database = asyncio.run(postgres.new_empty_database())
    with local_galaxy(tmp_path, serve=serve_options(), database=database) as galaxy:
        for name in AGENTS:
            add(galaxy, name)
        galaxy.wait_for_agents()
        body: dict[str, Any] = {
            "name": "composed",
            "stars": [
                {"id": "kind", "tool": "system.info", "needs": {"labels": {"gpu": "yes"}}},
                {"id": "said", "tool": "system.echo", "arguments": {"value": {"$from": "kind", "pointer": "/os"}}},
            ],
        }
        constellation = galaxy.request("POST", "/v1/constellations", json=body).json()["id"]
        path = f"/v1/constellations/{constellation}"
        galaxy.wait_until(lambda: galaxy.request("GET", path).json()["ended_at"], "it has not ended")
        ended = galaxy.request("GET", path).json()

    assert ended["state"] == "succeeded"
    assert ended["stars"][0]["attempts"][0]["device"] == "rig"
    assert ended["stars"][1]["result"] == {"value": "Linux"}
