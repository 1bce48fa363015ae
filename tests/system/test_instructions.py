"""Stars in words and approvals, with a real node, a real agent, and a model that the node lends to the device."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from galaxy.cli.local import LocalGalaxy, local_galaxy

from ..device_agents.endpoint import ModelServer, answering, said

WRITE = said("file.write", {"path": "greeting.txt", "content": "hello"})
FINISH = said("finish", {"path": "greeting.txt"})


@contextmanager
def with_model(folder: Path, server: ModelServer) -> Iterator[LocalGalaxy]:
    settings = {
        "GALAXY_LLM_URL": server.endpoint().url,
        "GALAXY_LLM_KEY": "key-of-the-node",
        "GALAXY_LLM_MODEL": "small",
    }
    with local_galaxy(folder, environment=settings) as galaxy:
        galaxy.add_agent("desk", "--slots", "4")
        galaxy.wait_for_agents()
        yield galaxy


def submitted(galaxy: LocalGalaxy, body: dict[str, Any]) -> str:
    return f"/v1/constellations/{galaxy.request('POST', '/v1/constellations', json=body).json()['id']}"


def ended(galaxy: LocalGalaxy, path: str) -> dict[str, Any]:
    galaxy.wait_until(lambda: galaxy.request("GET", path).json()["ended_at"], "it has not ended")
    picture: dict[str, Any] = galaxy.request("GET", path).json()
    return picture


INSTRUCTION = {
    "text": "Write a greeting into a file and say where it is.",
    "tools": ["file.write"],
    "output": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


def test_an_instruction_is_followed_with_the_model_that_the_node_lends_and_its_cost_is_counted(tmp_path: Path):
    with answering(WRITE, FINISH) as server, with_model(tmp_path, server) as galaxy:
        path = submitted(galaxy, {"stars": [{"id": "greet", "instruction": INSTRUCTION}]})
        picture = ended(galaxy, path)

    (star,) = picture["stars"]
    assert (picture["state"], star["result"]) == ("succeeded", {"path": "greeting.txt"}), star
    assert (tmp_path / "desk" / "work" / "greeting.txt").read_text() == "hello"
    assert picture["spent"] == {"tokens": 220, "money": 0.0, "calls": 2, "open_calls": 0}
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer key-of-the-node"] * 2
    assert b"key-of-the-node" not in b"".join(
        one.read_bytes() for one in (tmp_path / "desk").rglob("*") if one.is_file()
    )


def test_a_budget_that_is_spent_ends_an_instruction_and_says_so(tmp_path: Path):
    body = {
        "stars": [{"id": "greet", "instruction": INSTRUCTION, "retry": {"attempts": 1}}],
        "constraints": {"budget": {"calls": 1}},
    }
    with answering(WRITE) as server, with_model(tmp_path, server) as galaxy:
        picture = ended(galaxy, submitted(galaxy, body))

    (star,) = picture["stars"]
    assert (picture["state"], star["failure"]["code"]) == ("failed", "budget_exhausted")
    assert picture["spent"]["calls"] == 1


def test_a_call_waits_for_a_person_across_a_kill_of_the_node_and_is_made_once_they_agree(tmp_path: Path):
    write = {"id": "write", "tool": "file.write", "arguments": {"path": "a.txt", "content": "agreed"}}
    with local_galaxy(tmp_path) as galaxy:
        galaxy.add_agent("desk")
        galaxy.wait_for_agents()
        path = submitted(galaxy, {"stars": [{**write, "needs_approval": True}]})
        galaxy.wait_until(lambda: galaxy.request("GET", "/v1/approvals").json()["items"], "nobody is asked")
        galaxy.node.kill()
        galaxy.start_node()
        galaxy.wait_for_agents()
        (asked,) = galaxy.request("GET", "/v1/approvals").json()["items"]
        assert not (tmp_path / "desk" / "work" / "a.txt").exists()
        approve = [sys.executable, "-m", "galaxy.cli.__main__", "approve", path.rpartition("/")[2], "write"]
        subprocess.run([*approve, "--url", galaxy.url, "--token", galaxy.token], check=True, timeout=30)
        picture = ended(galaxy, path)

    assert asked["arguments"] == write["arguments"]
    assert picture["state"] == "succeeded"
    assert (tmp_path / "desk" / "work" / "a.txt").read_text() == "agreed"
