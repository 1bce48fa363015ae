"""The demo's second act: constellations that change while they run, without any model.

One is an outline: a loop whose length nobody knows before, and a step that fails, is looked into and repaired by rules.
The other asks an outside planner, played here, which takes two seconds; what it is not asked about goes on meanwhile.
"""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.table import Table

from .client import Client, connected, path_of
from .commands import follow
from .show import console, listing

THINK_S = 2.0
ASKED_WITHIN_S = 30.0
LOOK_EVERY_S = 0.05

OUTLINE = """\
# Restock the lab

1. apples: @rig file.write path=apples.stock content="12"
2. pears: @rig file.write path=pears.stock content="7"
3. shelves: @rig file.list path=. after 1, 2
4. count: @rig file.read path={shelf/path} for each shelf in step 3 /entries
5. prices: @atlas file.read path=todays-prices.csv or else file.read path=prices.csv
6. order: @desk file.write path=order.csv content={5/content} after 4

answer: ordered, see {6/path}
"""

SLEEP = "import time; time.sleep(0.2)"
BESIDE = 6


def prepare(folder: Path) -> None:
    """Put there what the act needs: a price list, though not the one that is asked for first."""
    (folder / "atlas" / "work").mkdir(parents=True, exist_ok=True)
    (folder / "atlas" / "work" / "prices.csv").write_text("apples,0.40\npears,0.55\n")


def play(client: Client, url: str, token: str, *, quiet: bool) -> dict[str, Any]:
    """Return the pictures of both constellations and the revisions of the first, when both have ended."""
    say: Callable[[object], None] = (lambda _: None) if quiet else console().print
    say("\nSecond act: an outline that draws itself on, and a question that holds only what it is about.")
    survey = client.post("/v1/constellations", _survey())["id"]
    planner = threading.Thread(target=_answer, args=(url, token, survey), daemon=True)
    planner.start()
    restock = client.post("/v1/constellations", {"name": "restock", "goal": {"text": OUTLINE}})["id"]
    outlined = follow(client, restock, quiet=quiet)
    surveyed = follow(client, survey, quiet=quiet)
    planner.join(ASKED_WITHIN_S)
    history = {one: client.get(path_of("constellations", one, "revisions"))["items"] for one in (restock, survey)}
    for picture in (outlined, surveyed):
        say(_revisions(picture, history[picture["id"]]))
    held_s, beside = held(surveyed)
    say(f"The planner thought for {held_s:.1f} s; {beside} stars that it was not asked about ran meanwhile.")
    return {"restock": outlined, "survey": surveyed, "revisions": history, "held_s": held_s, "ran_meanwhile": beside}


def held(picture: dict[str, Any]) -> tuple[float, int]:
    """Return for how long the survey's cut was held, and how many stars beside it ended in that time."""
    stars = {star["id"]: star for star in picture["stars"]}
    began, ended = stars["probe"]["ended_at"], stars["report"]["attempts"][0]["leased_at"]
    beside = [star for star in stars.values() if star["id"].startswith("beside")]
    return round(ended - began, 3), sum(began < star["ended_at"] <= ended for star in beside)


def _survey() -> dict[str, Any]:
    pure = {"tool": "shell.run", "arguments": {"argv": [sys.executable, "-c", SLEEP]}, "effects": "pure"}
    beside = [{"id": f"beside-{n}", **pure} for n in range(1, BESIDE + 1)]
    return {
        "name": "survey",
        "planning": {"planner": "external", "when": "on_failure"},
        "stars": [
            {"id": "probe", "tool": "system.info", "on_success": "consult", "needs": {"device": "desk"}},
            {"id": "report", "tool": "system.echo", "arguments": {"value": {"$from": "probe", "pointer": "/hostname"}}},
            *beside,
        ],
        "lines": [{"source": f"beside-{n}", "target": f"beside-{n + 1}"} for n in range(1, BESIDE)],
    }


def _answer(url: str, token: str, constellation: str) -> None:
    """Be the planner: look at the question, take two seconds, and add a second look."""
    with connected(url, token) as client:
        deadline = time.monotonic() + ASKED_WITHIN_S
        while not (question := client.get(path_of("constellations", constellation))["question"]):
            if time.monotonic() > deadline:
                return
            time.sleep(LOOK_EVERY_S)
        time.sleep(THINK_S)
        second = {"id": "second-look", "tool": "process.list", "needs": {"device": "desk"}}
        answer = {
            "operations": [
                {"op": "add_star", "star": second},
                {"op": "add_line", "line": {"source": "second-look", "target": "report"}},
            ],
            "reason": "look twice before reporting",
        }
        client.post(path_of("constellations", constellation, "consults", str(question["number"]), "answer"), answer)


def _revisions(picture: dict[str, Any], items: list[dict[str, Any]]) -> Table:
    rows = [(one["revision"], one["by"], one["reason"] or "submitted") for one in items]
    table = listing(("revision", "by", "why"), rows)
    table.title, table.title_justify = f"who changed {picture['name']}, and why", "left"
    return table
