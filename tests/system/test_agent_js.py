"""An agent in another language, made from docs/protocol.md alone: it joins, works, is stopped, and outlives a kill."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from galaxy.cli.local import LocalGalaxy, Program, local_galaxy

AGENT = Path(__file__).parent.parent.parent / "examples" / "agent.mjs"
NODE = shutil.which("node")
WITHIN_S = 20.0

pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed on this machine")


def words_for(*words: str) -> list[str]:
    """Return the command; Node 20 has its WebSocket behind an option, and later ones have no such option."""
    assert NODE
    probe = [NODE, "-p", "typeof WebSocket"]
    known = subprocess.run(probe, capture_output=True, text=True, timeout=WITHIN_S, check=True).stdout.strip()
    options = ["--experimental-websocket", "--no-warnings"] if known == "undefined" else []
    return [NODE, *options, str(AGENT), *words]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGalaxy]:
    """A galaxy whose only device speaks JavaScript."""
    folder = tmp_path_factory.mktemp("js")
    with local_galaxy(folder) as galaxy:
        token = galaxy.request("POST", "/v1/join-tokens").json()["token"]
        joining = words_for("join", galaxy.url, token, "script", str(folder / "state.json"))
        subprocess.run(joining, timeout=WITHIN_S, check=True)
        agent = Program("script", words_for("run", str(folder / "state.json")), folder / "script.log")
        galaxy.agents["script"] = agent
        agent.start()
        galaxy.wait_for_agents()
        yield galaxy


def submitted(home: LocalGalaxy, *stars: dict[str, Any], lines: list[dict[str, Any]] | None = None) -> str:
    body = {"name": "script", "stars": list(stars), "lines": lines or []}
    return f"/v1/constellations/{home.request('POST', '/v1/constellations', json=body).json()['id']}"


def ended(home: LocalGalaxy, path: str) -> dict[str, dict[str, Any]]:
    home.wait_until(lambda: home.request("GET", path).json()["ended_at"], "it has not ended", WITHIN_S)
    return {star["id"]: star for star in home.request("GET", path).json()["stars"]}


def is_running(home: LocalGalaxy, path: str, star: str) -> bool:
    states = {each["id"]: each["state"] for each in home.request("GET", path).json()["stars"]}
    return states[star] == "running"


def note(star: str, line: Any) -> dict[str, Any]:
    return {"id": star, "tool": "note.append", "arguments": {"line": line}, "effects": "once"}


def notes(home: LocalGalaxy) -> list[str]:
    return (home.folder / "state.json.notes").read_text("utf-8").splitlines()


def test_an_agent_in_javascript_does_the_stars_of_a_constellation_in_their_order(home: LocalGalaxy):
    count = {"id": "count", "tool": "text.count", "arguments": {"text": "one two three"}}
    path = submitted(home, count, note("note", "counted"), lines=[{"source": "count", "target": "note"}])

    stars = ended(home, path)

    assert (stars["count"]["result"], stars["note"]["state"]) == ({"words": 3}, "succeeded")
    assert notes(home).count("counted") == 1


def test_an_agent_in_javascript_stops_what_is_cancelled_and_ends_what_is_late(home: LocalGalaxy):
    wait = {"tool": "timer.wait", "arguments": {"s": 600}}
    late = submitted(home, {"id": "late", **wait, "timeouts": {"run_s": 0.3}, "retry": {"attempts": 1}})
    path = submitted(home, {"id": "wait", **wait})
    home.wait_until(lambda: is_running(home, path, "wait"), "it does not run", WITHIN_S)
    home.request("POST", f"{path}:cancel", json={"reason": "enough"})

    assert ended(home, path)["wait"]["attempts"][-1]["outcome"] == "cancelled"
    assert ended(home, late)["late"]["attempts"][-1]["failure"]["code"] == "timeout"


def test_an_agent_in_javascript_that_is_killed_begins_nothing_twice(home: LocalGalaxy):
    wait = {"id": "wait", "tool": "timer.wait", "arguments": {"s": 1}}
    path = submitted(home, wait, note("note", "after the kill"), lines=[{"source": "wait", "target": "note"}])
    home.wait_until(lambda: is_running(home, path, "wait"), "it does not run", WITHIN_S)

    home.agents["script"].kill()
    home.agents["script"].start()

    stars = ended(home, path)
    assert {star["state"] for star in stars.values()} == {"succeeded"}
    assert [attempt["failure"]["code"] for attempt in stars["wait"]["attempts"][:-1]] == ["cut_off"]
    assert notes(home).count("after the kill") == 1
