"""`galaxy demo`: a node and three agents on this machine, and a constellation that shows what Galaxy does."""

import json
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from . import cold_store, second_act
from .client import connected
from .commands import follow
from .exits import CONSTELLATION_FAILED, INTERRUPTED, REFUSED, UNREACHABLE, fail
from .local import DidNotStart, LocalGalaxy, local_galaxy
from .show import console

DEVICES = {
    "desk": ("--kind", "desktop", "--label", "site=lab"),
    "atlas": ("--kind", "server", "--label", "site=hall"),
    "rig": ("--kind", "edge", "--label", "site=lab"),
}
SLOTS = ("--slots", "4", "--log-level", "warning")

GUARD = f"""\
[programs.{json.dumps(sys.executable)}]
inline_code = true
"""

SUM = "import sys; print(sum(int(row.split(',')[1]) for row in open(sys.argv[1])), end='')"
ADD = "import sys; print(sum(map(int, sys.argv[1:])), end='')"
READ = "import sys; print(open(sys.argv[1]).read())"


def demo(
    full: Annotated[
        bool,
        typer.Option("--full", help="All four kinds of devices: browser, phone, sensors, repository"),
    ] = False,
    keep: Annotated[Path | None, typer.Option(help="With --full: keep its pictures and its workbook there")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end, and nothing else")] = False,
) -> None:
    """Show it: parallel branches, bindings, conditions, retries, skips; then rewriting. Leaves nothing behind."""
    if keep and not full:
        fail(REFUSED, "--keep is for the pictures of --full")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="galaxy-demo-", ignore_cleanup_errors=True) as folder:
            if full:
                picture = cold_store.shown(Path(folder), as_json=as_json, keep=keep)
            else:
                picture = _shown(Path(folder), as_json=as_json)
    except DidNotStart as exc:
        fail(UNREACHABLE, str(exc))
    except KeyboardInterrupt:
        fail(INTERRUPTED, "interrupted; everything that was started has been stopped")
    if as_json:
        typer.echo(json.dumps(picture, ensure_ascii=False))
    acts = [picture, *(picture["second_act"][act] for act in ("restock", "survey") if not full)]
    if any(act["state"] != "succeeded" for act in acts):
        raise typer.Exit(CONSTELLATION_FAILED)


def constellation() -> dict[str, Any]:
    """Return the constellation that the demo runs."""
    return {
        "name": "sales report",
        "stars": [
            # desk and rig have the label; only rig has the file, so the first attempt fails.
            _program("calibration", READ, "calibration.txt", needs={"labels": {"site": "lab"}}, retry=_QUICK),
            _write("north-sales", "north.csv", "jan,310\nfeb,290\n", "atlas"),
            _write("south-sales", "south.csv", "jan,420\nfeb,180\n", "rig"),
            {"id": "survey", "title": "what machine is this?", "tool": "system.info", "needs": {"device": "desk"}},
            _program("north-total", SUM, "north.csv", needs={"device": "atlas"}),
            _program("south-total", SUM, "south.csv", needs={"device": "rig"}),
            _program("total", ADD, _from("north-total", "/stdout"), _from("south-total", "/stdout")),
            _write("report", "report.txt", _from("total", "/stdout"), "desk"),
            {"id": "proof", "tool": "file.read", "arguments": {"path": "report.txt"}, "needs": {"device": "desk"}},
            _echo("bonus", {"paid for": _from("total", "/stdout")}),
            _echo("warning", "sales are low"),
            _echo("meeting", "to talk about the warning"),
            _echo("recalibration", "only if the calibration is lost"),
        ],
        "lines": [
            {"source": "north-sales", "target": "north-total"},
            {"source": "south-sales", "target": "south-total"},
            {"source": "report", "target": "proof"},
            {"source": "total", "target": "bonus", "condition": "int(result.stdout) > 1000"},
            {"source": "total", "target": "warning", "condition": "int(result.stdout) < 500"},
            {"source": "warning", "target": "meeting"},
            {"source": "calibration", "target": "recalibration", "when": "failure"},
        ],
    }


_QUICK = {"attempts": 3, "backoff_s": 0.3, "cap_s": 0.3}


def _shown(folder: Path, *, as_json: bool) -> dict[str, Any]:
    out, began = console(), time.monotonic()

    def say(text: str) -> None:
        if not as_json:
            out.print(text, style="dim")

    say("starting a node (SQLite, in a temporary folder) ...")
    with local_galaxy(folder, serve=["--log-level", "warning"]) as galaxy:
        for name, options in DEVICES.items():
            say(f"joining {name} ...")
            galaxy.add_agent(name, *options, *SLOTS, guard=GUARD)
        (folder / "rig" / "work").mkdir(parents=True, exist_ok=True)
        (folder / "rig" / "work" / "calibration.txt").write_text("offset 0.25")
        second_act.prepare(folder)
        galaxy.wait_for_agents()
        say(f"ready after {time.monotonic() - began:.1f} s: {galaxy.url}")
        return _run(galaxy, as_json=as_json)


def _run(galaxy: LocalGalaxy, *, as_json: bool) -> dict[str, Any]:
    with connected(galaxy.url, galaxy.token) as client:
        submitted = client.post("/v1/constellations", constellation())
        first = follow(client, submitted["id"], quiet=as_json)
        return {**first, "second_act": second_act.play(client, galaxy.url, galaxy.token, quiet=as_json)}


def _program(star_id: str, code: str, *arguments: Any, **more: Any) -> dict[str, Any]:
    """Return a star that computes: it changes nothing, so it may be tried again anywhere."""
    command = [sys.executable, "-c", code, *arguments]
    return {"id": star_id, "tool": "shell.run", "arguments": {"argv": command}, "effects": "pure", **more}


def _write(star_id: str, path: str, content: Any, device: str) -> dict[str, Any]:
    arguments = {"path": path, "content": content}
    return {"id": star_id, "tool": "file.write", "arguments": arguments, "needs": {"device": device}}


def _echo(star_id: str, value: Any) -> dict[str, Any]:
    return {"id": star_id, "tool": "system.echo", "arguments": {"value": value}}


def _from(star: str, pointer: str) -> dict[str, str]:
    return {"$from": star, "pointer": pointer}


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
