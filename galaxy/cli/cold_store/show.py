"""Starts six agents around the world, runs the constellation, kills a device on the way, and shows what came of it."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..client import connected
from ..commands import follow
from ..exits import REFUSED, fail
from ..local import LocalGalaxy, local_galaxy
from ..show import console
from .constellation import SHELVES, constellation
from .world import MODEL, World, lacking, world

QUIET = ("--slots", "2", "--log-level", "warning")
HISTORY = "3.9 4.1 4.0 4.4 3.8 4.2 4.1 3.9\n"
KEPT = {  # star -> the field of its result that names an artifact, and the file that it becomes
    "receipt": ("picture", "receipt.png"),
    "before": ("picture", "phone-before.png"),
    "after": ("picture", "phone-after.png"),
    "workbook": ("artifact", "report.xlsx"),
}
VICTIM = "usual"  # the star whose device is killed while it runs

Say = Callable[[str], None]


def shown(folder: Path, *, as_json: bool, keep: Path | None) -> dict[str, Any]:
    """Return what happened: the constellation's last picture, and what it did to the world."""
    if missing := lacking():
        needs = "\n".join(f"  {each}" for each in missing)
        fail(REFUSED, f"the full demo needs more than this machine has:\n{needs}")
    out, began = console(), time.monotonic()

    def say(text: str) -> None:
        if not as_json:
            out.print(text, style="dim")

    say("starting a node, a broker with three sensors, a form, and a phone ...")
    with local_galaxy(folder, serve=["--log-level", "warning"]) as galaxy, world(folder) as around:
        _join(galaxy, around, folder, say)
        galaxy.wait_for_agents()
        galaxy.wait_until(lambda: _all_able(galaxy), "a device has not all of its tools")
        say(f"ready after {time.monotonic() - began:.1f} s: {galaxy.url}")
        found = _run(galaxy, around, as_json=as_json, say=say)
        if keep:
            _keep(galaxy, found, keep)
            say(f"pictures and workbook are in {keep}")
        return found


def _join(galaxy: LocalGalaxy, around: World, folder: Path, say: Say) -> None:
    python = f"[programs.{json.dumps(sys.executable)}]\ninline_code = true\n"
    for name in ("titan", "rhea"):
        say(f"joining {name}: a server that computes ...")
        galaxy.add_agent(name, "--kind", "server", "--label", "role=compute", *QUIET, guard=python)
        (folder / name / "work").mkdir(exist_ok=True)
        (folder / name / "work" / "history.txt").write_text(HISTORY, "utf-8")
    say("joining atlas: a server with an MCP server of git ...")
    galaxy.add_agent("atlas", "--kind", "server", *QUIET, files={"agent.toml": _mcp()})
    say("joining porch: an edge box with sensors and a model ...")
    galaxy.add_agent("porch", "--kind", "edge", *QUIET, files={"agent.toml": _edge(around)})
    say("joining desk: a desktop with a browser ...")
    web = f"[http]\nprivate = true\nports = [{around.form.port}]\n"
    galaxy.add_agent("desk", "--kind", "desktop", *QUIET, guard=web)
    say("joining pocket: a phone, over ADB ...")
    galaxy.add_agent("pocket", "--kind", "mobile", *QUIET, files={"agent.toml": _mobile(around)})


def _mcp() -> str:
    command = json.dumps([sys.executable, "-m", "mcp_server_git"])
    return f'[mcp.git]\ncommand = {command}\ncwd = "report"\neffects = {{ git_add = "idempotent" }}\n'


def _edge(around: World) -> str:
    sensors = "".join(
        f'[edge.sensors.{shelf}]\ntopic = "store/{shelf}"\nunit = "°C"\nminimum = -40\nmaximum = 60\n'
        for shelf in SHELVES
    )
    model = f'[edge.models.too_warm]\nfile = {json.dumps(str(MODEL))}\nlabels = ["cold enough", "too warm"]\n'
    return f'[edge]\nbroker = "{around.broker}"\nsubscribe = ["store/#"]\n{sensors}{model}'


def _mobile(around: World) -> str:
    apps = 'touch = true\napps = ["com.galaxy.*"]\n'
    return f'[mobile]\nconnect = "{around.phone}"\nadb_port = {around.adb_port}\n{apps}'


def _all_able(galaxy: LocalGalaxy) -> bool:
    """Return whether each device has the tools that the constellation asks of it: probes take a moment."""
    wanted = [(s["needs"]["device"], s["tool"]) for s in constellation("")["stars"] if "device" in s.get("needs", {})]
    devices = {one["id"]: one for one in galaxy.request("GET", "/v1/devices").json()["items"]}
    return all(tool in devices[name]["tools"] and tool not in devices[name]["withdrawn"] for name, tool in wanted)


def _run(galaxy: LocalGalaxy, around: World, *, as_json: bool, say: Say) -> dict[str, Any]:
    killed: list[str] = []

    def heard(event: dict[str, Any]) -> None:
        if event["kind"] == "star_accepted" and event["star"] == VICTIM and not killed:
            killed.append(event["device"])
            galaxy.agents[event["device"]].kill()
            say(f"killed {event['device']}, while it runs {VICTIM}")

    with connected(galaxy.url, galaxy.token) as client:
        submitted = client.post("/v1/constellations", constellation(around.form.url))
        picture = follow(client, submitted["id"], quiet=as_json, heard=heard)
    found = {**picture, "killed": killed, "form": around.form.sent, "commits": around.commits()}
    say(f"the form got: {json.dumps(found['form'], ensure_ascii=False)}")
    say(f"the repository's newest commit: {found['commits'][0]}")
    return found


def _keep(galaxy: LocalGalaxy, found: dict[str, Any], keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    results = {star["id"]: star["result"] for star in found["stars"]}
    for star, (field, name) in KEPT.items():
        if artifact := (results.get(star) or {}).get(field):
            answer = galaxy.request("GET", f"/v1/artifacts/{artifact['$artifact']}")
            (keep / name).write_bytes(answer.content)
