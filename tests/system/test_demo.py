"""The first thing a newcomer runs: what it shows, how it ends, and that it leaves nothing behind."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

DEMO = [sys.executable, "-m", "galaxy.cli.__main__", "demo"]
WITHIN_S = 60.0


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demo with its temporary files in `folder`, and end it in any case."""
    process = subprocess.Popen(
        [*DEMO, *options],
        env={"TMPDIR": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def left_in(folder: Path) -> list[str]:
    """Return what of the demo still runs, or lies about."""
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line] + [path.name for path in folder.glob("galaxy-demo-*")]


def test_the_demo_shows_what_it_promises_and_leaves_nothing_behind(tmp_path: Path):
    with demo(tmp_path, "--json") as process:
        out, err = process.communicate(timeout=WITHIN_S)

    assert (process.returncode, err) == (0, "")
    shown = json.loads(out)
    states = {star["id"]: star["state"] for star in shown["stars"]}
    devices = {star["id"]: [attempt["device"] for attempt in star["attempts"]] for star in shown["stars"]}
    results = {star["id"]: star["result"] for star in shown["stars"]}
    assert len(states) >= 10
    assert shown["state"] == "succeeded"
    assert devices["calibration"] == ["desk", "rig"]  # failed there, succeeded elsewhere
    assert results["bonus"] == {"value": {"paid for": "1200"}}  # bound through three stars on three devices
    assert [states[star] for star in ("warning", "meeting", "recalibration")] == ["skipped"] * 3
    assert {device for chosen in devices.values() for device in chosen} == {"desk", "atlas", "rig"}
    second = shown["second_act"]
    restocked = {star["id"]: star["state"] for star in second["restock"]["stars"]}
    assert [second[act]["state"] for act in ("restock", "survey")] == ["succeeded", "succeeded"]
    assert {"s4-1", "s4-2"} <= restocked.keys()  # the loop was as long as the list that was found
    assert "s5-look" in restocked  # what failed was looked into, and then done another way
    assert second["held_s"] >= 2.0
    assert second["ran_meanwhile"] == 6
    authors = [revision["by"] for revision in second["revisions"][second["restock"]["id"]]]
    assert [by for by in authors if "repair" in by]
    assert left_in(tmp_path) == []


def test_the_demo_tells_its_progress_as_plain_lines_where_there_is_no_terminal(tmp_path: Path):
    with demo(tmp_path) as process:
        out, _ = process.communicate(timeout=WITHIN_S)

    assert "calibration: attempt 2 on rig" in out.splitlines()
    assert "total -> bonus: the condition holds" in out.splitlines()
    assert "edited by planner:external: look twice before reporting" in out.splitlines()
    assert "\x1b" not in out


def test_ctrl_c_in_the_middle_of_the_demo_leaves_nothing_behind(tmp_path: Path):
    with demo(tmp_path) as process:
        assert process.stdout
        while "joining atlas" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WITHIN_S)

    assert process.returncode == 130
    assert "everything that was started has been stopped" in err
    assert left_in(tmp_path) == []
