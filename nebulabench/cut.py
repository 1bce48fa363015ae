"""What a question to the planner costs a branch that it is not about."""

import tempfile
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from galaxy.cli.local import LocalGalaxy, local_galaxy

STEPS = 12
STEP_S = 0.25
END_WITHIN_S = 60.0
GUARD = "[programs.sleep]\n"


def cut(think_s: float = 2.0) -> dict[str, Any]:
    """Return how long one branch waited between its stars, while a planner thought about another branch and without.

    Both runs have the same two branches on the same galaxy. The time lost is what passes between the end of a star and
    the start of the next; what the programs themselves take is not Galaxy's.
    """
    with (
        tempfile.TemporaryDirectory(prefix="galaxy-cut-", ignore_cleanup_errors=True) as folder,
        local_galaxy(Path(folder), serve=["--log-level", "warning", "--durability", "process"]) as galaxy,
    ):
        for name in ("left", "right"):
            galaxy.add_agent(name, "--slots", "2", "--log-level", "warning", guard=GUARD)
        galaxy.wait_for_agents()
        _ran(galaxy, _body(asked=False), 0.0)  # the first run warms everything up
        without = _ran(galaxy, _body(asked=False), 0.0)
        during = _ran(galaxy, _body(asked=True), think_s)
    lost_ms = round(1000 * (_waited_s(during) - _waited_s(without)), 1)
    return {
        "think_s": think_s,
        "stars_beside": STEPS,
        "held_s": round(_held_s(during), 3),
        "waited_without_ms": round(1000 * _waited_s(without), 1),
        "waited_during_ms": round(1000 * _waited_s(during), 1),
        "lost_ms": lost_ms,
    }


def _body(*, asked: bool) -> dict[str, Any]:
    """Two branches: `a` is asked about when it has succeeded; the steps beside it have nothing to do with it."""
    sleep = {"argv": ["sleep", str(STEP_S)]}
    beside = [
        {"id": f"b{n}", "tool": "shell.run", "arguments": sleep, "needs": {"device": "right"}} for n in range(STEPS)
    ]
    first: dict[str, Any] = {"id": "a", "tool": "system.info", "needs": {"device": "left"}}
    if asked:
        first["on_success"] = "consult"
    behind = {"id": "behind", "tool": "system.info", "needs": {"device": "left"}}
    return {
        "name": "cut",
        "planning": {"planner": "external", "when": "never"},
        "stars": [first, behind, *beside],
        "lines": [
            {"source": "a", "target": "behind"},
            *({"source": f"b{n}", "target": f"b{n + 1}"} for n in range(STEPS - 1)),
        ],
    }


def _ran(galaxy: LocalGalaxy, body: dict[str, Any], think_s: float) -> dict[str, Any]:
    path = f"/v1/constellations/{galaxy.request('POST', '/v1/constellations', json=body).json()['id']}"
    planner = threading.Thread(target=_answer, args=(galaxy, path, think_s)) if think_s else None
    if planner:
        planner.start()
    galaxy.wait_until(lambda: galaxy.request("GET", path).json()["ended_at"], "it has not ended", END_WITHIN_S)
    if planner:
        planner.join()
    picture: dict[str, Any] = galaxy.request("GET", path).json()
    return picture


def _answer(galaxy: LocalGalaxy, path: str, think_s: float) -> None:
    """Be the planner: take so long, and let it go on as it is."""
    galaxy.wait_until(lambda: galaxy.request("GET", path).json()["question"], "nobody was asked", END_WITHIN_S)
    time.sleep(think_s)
    number = galaxy.request("GET", path).json()["question"]["number"]
    galaxy.request("POST", f"{path}/consults/{number}/answer", json={"reason": "go on"})


def _waited_s(picture: dict[str, Any]) -> float:
    """Return how long the steps beside waited in all, from the end of one to the start of the next."""
    stars = {star["id"]: star for star in picture["stars"]}
    beside = [stars[f"b{n}"] for n in range(STEPS)]
    return float(sum(after["attempts"][0]["leased_at"] - before["ended_at"] for before, after in pairwise(beside)))


def _held_s(picture: dict[str, Any]) -> float:
    stars = {star["id"]: star for star in picture["stars"]}
    return float(stars["behind"]["attempts"][0]["leased_at"] - stars["a"]["ended_at"])
