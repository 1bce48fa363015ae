"""Goals in words, by the command line, a real node and real agents; the model is an endpoint that plays recordings.

With GALAXY_LLM_URL, GALAXY_LLM_KEY and GALAXY_LLM_MODEL set, the same goals are put to that endpoint instead: what a
model makes of them is then its own, so it is only required that each comes to an end that says why.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from galaxy.cli.local import LocalGalaxy, local_galaxy

from ..galaxy.planner.replay import RECORDINGS, Recording, load_all

GUARDS = {
    "desk": f"[programs.{json.dumps(sys.executable)}]\ninline_code = true\n",
    "atlas": f"[programs.{json.dumps(sys.executable)}]\ninline_code = true\n[programs.wc]\n",
    "rig": 'tools = ["file.*", "system.*", "process.*"]\n',
}
KINDS = {"desk": "desktop", "atlas": "server", "rig": "edge"}
REAL = {
    name: os.environ[name] for name in ("GALAXY_LLM_URL", "GALAXY_LLM_KEY", "GALAXY_LLM_MODEL") if name in os.environ
}
RUN = [sys.executable, "-m", "galaxy.cli.__main__", "run", "--planner", "llm", "--no-repair", "--watch", "--json"]
WITHIN_S = 60.0
CALL_S = 300.0


@contextmanager
def endpoint() -> Iterator[dict[str, str]]:
    """Lend the settings of a model: the one that the environment names, or recordings in a process of their own."""
    if len(REAL) == 3:
        yield REAL
        return
    words = [sys.executable, "-m", "tests.galaxy.planner.replay", str(RECORDINGS)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().strip()
            yield {"GALAXY_LLM_URL": url, "GALAXY_LLM_KEY": "not-a-secret", "GALAXY_LLM_MODEL": "recorded"}
        finally:
            server.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def galaxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGalaxy]:
    folder = tmp_path_factory.mktemp("goals")
    with endpoint() as settings, local_galaxy(folder, environment=settings) as galaxy:
        for name, guard in GUARDS.items():
            galaxy.add_agent(name, "--kind", KINDS[name], "--slots", "4", "--brain", "off", guard=guard)
        galaxy.wait_for_agents()
        yield galaxy


def prepare(galaxy: LocalGalaxy, recording: Recording) -> None:
    """Give each device the files that the goal is about, and no others."""
    for name in GUARDS:
        work = galaxy.folder / name / "work"
        for old in work.iterdir() if work.exists() else ():
            shutil.rmtree(old) if old.is_dir() else old.unlink()
        for path, content in recording.files.get(name, {}).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(content, "utf-8")


def put(galaxy: LocalGalaxy, recording: Recording) -> dict[str, Any]:
    """Return the constellation that the goal became, when it has ended."""
    prepare(galaxy, recording)
    ran = subprocess.run(
        [*RUN, "--goal", recording.goal, "--url", galaxy.url, "--token", galaxy.token],
        capture_output=True,
        text=True,
        timeout=CALL_S if REAL else WITHIN_S,
        check=False,
    )
    assert ran.stdout, ran.stderr
    picture: dict[str, Any] = json.loads(ran.stdout)
    assert ran.returncode == (0 if picture["state"] == "succeeded" else 1)
    return picture


@pytest.mark.parametrize("recording", load_all(), ids=lambda recording: recording.name)
def test_a_goal_is_planned_run_rewritten_and_ended_honestly(galaxy: LocalGalaxy, recording: Recording):
    picture = put(galaxy, recording)

    assert picture["reason"], "it does not say why it ended"
    assert picture["spent"]["calls"] >= 2
    assert picture["spent"]["open_calls"] == 0
    if REAL:
        return
    assert picture["revision"] >= 2, "it was never rewritten"
    assert picture["state"] == ("failed" if recording.ends_as == "gave_up" else "succeeded"), picture["reason"]
    assert (picture["answer"] is not None) == (recording.ends_as != "gave_up")
    events = galaxy.request("GET", f"/v1/constellations/{picture['id']}/events", params={"limit": 1000}).json()["items"]
    settled = [event for event in events if event["kind"] == "usage_settled"]
    assert all(len(event["usage"]["prompt_sha256"]) == len(event["usage"]["answer_sha256"]) == 64 for event in settled)
    assert {event["usage"]["prompt"].partition("@")[0] for event in settled} <= {"plan", "revise"}
