"""Work on real devices: artifacts between them, cancelling what runs there, causes that reach the API."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from galaxy.cli.local import LocalGalaxy, local_galaxy

GUARD = f"""\
[programs."{sys.executable}"]
inline_code = true
"""
LINES = 20_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGalaxy]:
    """Two devices that run Python."""
    with local_galaxy(tmp_path_factory.mktemp("work")) as galaxy:
        for name in ("desk", "rig"):
            galaxy.add_agent(name, "--slots", "2", guard=GUARD)
        galaxy.wait_for_agents()
        yield galaxy


def submit(home: LocalGalaxy, *stars: dict[str, Any], lines: list[dict[str, Any]] | None = None) -> str:
    body = {"name": "work", "stars": list(stars), "lines": lines or []}
    return str(home.request("POST", "/v1/constellations", json=body).json()["id"])


def picture(home: LocalGalaxy, constellation: str) -> dict[str, Any]:
    found: dict[str, Any] = home.request("GET", f"/v1/constellations/{constellation}").json()
    return found


def ended(home: LocalGalaxy, constellation: str) -> dict[str, Any]:
    home.wait_until(lambda: picture(home, constellation)["ended_at"], "it has not ended")
    return picture(home, constellation)


def python(star: str, code: str, **more: Any) -> dict[str, Any]:
    return {"id": star, "tool": "shell.run", "arguments": {"argv": [sys.executable, "-c", code]}, **more}


def states(shown: dict[str, Any]) -> dict[str, str]:
    return {star["id"]: star["state"] for star in shown["stars"]}


def test_an_output_too_large_for_a_result_flows_as_an_artifact_to_another_device(home: LocalGalaxy):
    write = {"path": "log.txt", "artifact": {"$from": "log", "pointer": "/stdout_artifact"}}
    constellation = submit(
        home,
        python("log", f"for i in range({LINES}): print('line', i)", needs={"device": "desk"}),
        {"id": "keep", "tool": "file.write", "arguments": write, "needs": {"device": "rig"}},
    )

    shown = ended(home, constellation)

    assert states(shown) == {"log": "succeeded", "keep": "succeeded"}
    kept = (home.folder / "rig" / "work" / "log.txt").read_text().splitlines()
    assert (len(kept), kept[-1]) == (LINES, f"line {LINES - 1}")


def test_a_large_result_travels_as_an_artifact_and_a_part_of_it_can_be_bound(home: LocalGalaxy):
    words = [f"word {number}" for number in range(10_000)]
    last = {"$from": "words", "pointer": "/value/9999"}
    constellation = submit(
        home,
        {"id": "words", "tool": "system.echo", "arguments": {"value": words}, "needs": {"device": "desk"}},
        {"id": "last", "tool": "system.echo", "arguments": {"value": last}, "needs": {"device": "rig"}},
    )

    shown = ended(home, constellation)

    assert shown["stars"][0]["result"].keys() == {"$artifact", "bytes", "media_type"}
    assert shown["stars"][1]["result"] == {"value": "word 9999"}


def test_cancel_ends_what_runs_on_a_device_and_the_node_goes_on_with_others(home: LocalGalaxy, tmp_path: Path):
    started = tmp_path / "started"
    code = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    waiting = {"id": "never", "tool": "system.echo", "arguments": {"value": 1}, "needs": {"labels": {"no": "one"}}}
    constellation = submit(home, python("long", code), waiting)
    home.wait_until(lambda: started.exists() and started.read_text(), "it has not started")

    home.request("POST", f"/v1/constellations/{constellation}:cancel", json={"reason": "enough"})
    shown = ended(home, constellation)
    other = ended(home, submit(home, {"id": "next", "tool": "system.echo", "arguments": {"value": 1}}))

    assert shown["state"] == "cancelled"
    assert states(shown) == {"long": "cancelled", "never": "cancelled"}
    assert [star["cause"] for star in shown["stars"]] == ["enough", "enough"]
    assert not psutil.pid_exists(int(started.read_text()))
    assert other["state"] == "succeeded"


def test_the_cause_of_a_failure_is_in_the_api_with_each_attempt(home: LocalGalaxy):
    retry = {"attempts": 3, "backoff_s": 0.01}
    constellation = submit(home, python("bad", "raise SystemExit('no paper')", effects="pure", retry=retry))

    shown = ended(home, constellation)

    star = shown["stars"][0]
    assert (shown["state"], star["state"], len(star["attempts"])) == ("failed", "failed", 3)
    assert {attempt["failure"]["code"] for attempt in star["attempts"]} == {"exit_nonzero"}
    assert "no paper" in star["failure"]["message"]
    assert shown["failures"][0]["failure"] == star["failure"]


def test_a_device_that_is_revoked_loses_its_work_to_another(home: LocalGalaxy, tmp_path: Path):
    home.add_agent("guest", "--slots", "2", "--label", "here=yes", guard=GUARD)
    home.wait_for_agents()
    started = tmp_path / "started"
    sleep_the_first_time = "late = p.exists(); p.touch(); late or time.sleep(600)"
    code = f"import pathlib, time; p = pathlib.Path({str(started)!r}); {sleep_the_first_time}"
    constellation = submit(home, python("job", code, effects="pure", needs={"labels": {"here": "yes"}}))
    home.wait_until(started.exists, "it has not started")

    home.request("POST", "/v1/devices/guest:revoke", json={"reason": "stolen"})
    guest = home.agents.pop("guest")
    assert guest.process
    assert guest.process.wait(20) == 4  # sent away, and knows it
    home.add_agent("friend", "--label", "here=yes", guard=GUARD)
    shown = ended(home, constellation)

    assert [attempt["device"] for attempt in shown["stars"][0]["attempts"]] == ["guest", "friend"]
    assert shown["stars"][0]["attempts"][0]["failure"]["code"] == "device_revoked"
    assert shown["state"] == "succeeded"
