"""One constellation across all four kinds of devices, each doing something real, with one of them killed meanwhile."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from PIL import Image

from galaxy.cli.cold_store.constellation import constellation
from galaxy.cli.cold_store.world import MODEL, lacking
from tests.onnx_models import too_warm

from .test_demo import left_in

ROOT = Path(__file__).parents[2]
WITHIN_S = 110.0
SAID = "the store is too warm; usually it has 4.05 C"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def shown(folder: Path) -> dict[str, Any]:
    if missing := lacking():
        pytest.skip(f"this machine lacks {missing[0]}")
    command = [sys.executable, "-m", "galaxy.cli.__main__", "demo", "--full", "--json", "--keep", str(folder / "kept")]
    ran = subprocess.run(
        command,
        cwd=ROOT,
        env={"TMPDIR": str(folder), "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ran.stdout, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout)
    failed = {each["id"]: (each["failure"], each["attempts"]) for each in found["stars"] if each["state"] == "failed"}
    assert (ran.returncode, ran.stderr, failed) == (0, "", {})
    return found


def star(shown: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in shown["stars"] if each["id"] == name)
    return found


def test_it_comes_to_its_end_on_devices_of_all_four_kinds(shown: dict[str, Any], folder: Path):
    states = {each["id"]: each["state"] for each in shown["stars"]}
    used = {attempt["device"] for each in shown["stars"] for attempt in each["attempts"]}

    assert shown["state"] == "succeeded"
    assert [name for name, state in states.items() if state != "succeeded"] == ["all-well"]
    assert {"porch", "desk", "pocket", "atlas"} < used
    assert left_in(folder) == []


def test_what_the_killed_server_had_begun_is_done_by_another(shown: dict[str, Any]):
    (killed,) = shown["killed"]
    attempts = star(shown, "usual")["attempts"]

    assert attempts[0]["device"] == killed
    assert attempts[-1]["device"] not in {killed, "atlas"}
    assert star(shown, "usual")["result"]["stdout"] == "4.05"  # the mean of what stands in the file


def test_the_readings_of_sensors_and_a_model_decide(shown: dict[str, Any]):
    assert [star(shown, f"shelf-{n}")["result"]["value"] for n in (1, 2, 3)] == [8.4, 7.9, 9.1]
    assert star(shown, "verdict")["result"]["best"]["label"] == "too warm"
    assert MODEL.read_bytes() == too_warm(5.0), "the model of the demo is what tests/onnx_models.py writes"


def test_the_form_is_sent_once_and_the_workbook_holds_the_numbers(shown: dict[str, Any], folder: Path):
    assert shown["form"] == [{"verdict": "too warm", "usual": "4.05", "remark": SAID, "urgent": "on"}]
    book = openpyxl.load_workbook(folder / "kept" / "report.xlsx")
    rows = [row[:2] for row in book["Cold store"].iter_rows(values_only=True)]
    book.close()
    shelves = [("shelf-1", 8.4), ("shelf-2", 7.9), ("shelf-3", 9.1)]
    assert rows == [("shelf", "°C"), *shelves, ("usual", "4.05"), ("is", "too warm")]


def test_the_phones_screen_has_changed_by_a_tap(folder: Path, shown: dict[str, Any]):
    sizes = []
    for name in ("phone-before.png", "phone-after.png"):
        with Image.open(folder / "kept" / name) as picture:
            sizes.append((picture.format, picture.size))

    assert sizes == [("PNG", (412, 839))] * 2
    assert (folder / "kept" / "phone-before.png").read_bytes() != (folder / "kept" / "phone-after.png").read_bytes()


def test_the_report_is_committed_by_the_mcp_server(shown: dict[str, Any]):
    assert shown["commits"] == [SAID, "The first page is empty"]
    assert star(shown, "commit")["tool"] == "mcp:git/git_commit"


def test_what_is_missing_is_said_with_what_brings_it(tmp_path: Path):
    command = [sys.executable, "-m", "galaxy.cli.__main__", "demo", "--full"]
    ran = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "", "HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 3
    assert "adb: the system's package adb" in ran.stderr
    assert "tests.phone: a checkout of the project as the current folder" in ran.stderr


def test_the_constellation_names_the_address_of_the_form():
    stars = {each["id"]: each for each in constellation("http://form.example")["stars"]}

    assert stars["open"]["arguments"]["url"] == "http://form.example"
