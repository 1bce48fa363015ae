"""Kills a node and its agents at random while a constellation of effects runs, and counts each effect.

The effects are lines that a tool appends to a file. Half of the stars can verify whether their line is there; the other
half cannot, and must fail with `outcome_unknown` rather than be repeated when they are cut off.
"""

import json
import random
import shlex
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from galaxy.cli.local import LocalGalaxy, Program, local_galaxy

from .checkers import Event, lost, violations

DEVICES = ("ada", "bob", "cyd", "dot", "eve")
SLOTS = 2
LAYER = 20
PAGE = 1_000
LOOK_EVERY_S = 0.05
QUIET_S = (0.05, 0.8)  # between two kills
DOWN_S = (0.0, 0.4)  # between a kill and the restart

COUNT = """\
sleep {before_s}
printf '%s\\n' "$1" >> {effects}
sleep {after_s}
"""


@dataclass(slots=True)
class Soaked:
    """What came of it."""

    seed: int
    kills: dict[str, int] = field(default_factory=dict)
    stars: dict[str, str] = field(default_factory=dict)
    unknown: int = 0  # stars that failed because nobody can know
    verified: int = 0  # verifications that told
    wall_s: float = 0.0
    violations: list[str] = field(default_factory=list)


def soaked(
    seed: int,
    *,
    stars: int,
    kills: int,
    call_s: float = 1.0,
    within_s: float = 180.0,
    tell: Callable[[str], None] = lambda _: None,
) -> Soaked:
    """Return what came of one run with so many kills, every choice from the seed; a call takes about `call_s`."""
    with tempfile.TemporaryDirectory(prefix="nebulabench-soak-", ignore_cleanup_errors=True) as folder:
        return _Soak(Path(folder), seed, call_s, tell).run(stars, kills, within_s)


class _Soak:
    def __init__(self, folder: Path, seed: int, call_s: float, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._random = random.Random(seed)  # choices that can be repeated
        self._tell = tell
        self._call_s = call_s
        self._found = Soaked(seed)
        self._seen: list[Event] = []
        self._effects = folder / "seen" / "effects"
        self._effects.parent.mkdir()
        self._effects.touch()

    def run(self, stars: int, kills: int, within_s: float) -> Soaked:
        began = time.monotonic()
        with local_galaxy(self._folder, serve=["--heartbeat-s", "0.5"]) as galaxy:
            for device in DEVICES:
                galaxy.add_agent(device, "--slots", str(SLOTS), guard=self._guard())
            galaxy.wait_for_agents()
            body = self._constellation(stars)
            constellation = galaxy.request("POST", "/v1/constellations", json=body).json()["id"]
            for kill in range(kills):
                self._watch(galaxy, constellation, self._random.uniform(*QUIET_S))
                self._kill_one(galaxy, kill)
            galaxy.wait_until(lambda: self._has_ended(galaxy, constellation), "it has not ended", within_s)
            self._judge(galaxy, constellation)
        self._found.wall_s = round(time.monotonic() - began, 1)
        return self._found

    def _kill_one(self, galaxy: LocalGalaxy, number: int) -> None:
        # The node is killed as often as all agents together: it is the one that promises.
        victim: Program = galaxy.node if number % 2 == 0 else self._random.choice(list(galaxy.agents.values()))
        victim.kill()
        self._found.kills[victim.name] = self._found.kills.get(victim.name, 0) + 1
        self._tell(f"kill {number + 1}: {victim.name}, after {len(self._seen)} events")
        time.sleep(self._random.uniform(*DOWN_S))
        if victim is galaxy.node:
            galaxy.start_node()
        else:
            victim.start()

    def _watch(self, galaxy: LocalGalaxy, constellation: str, seconds: float) -> None:
        """Read events for a while: what a client has been shown may never be lost."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._read(galaxy, constellation)
            time.sleep(LOOK_EVERY_S)

    def _read(self, galaxy: LocalGalaxy, constellation: str) -> None:
        path = f"/v1/constellations/{constellation}/events"
        with suppress(httpx2.HTTPError):
            after = self._seen[-1]["seq"] if self._seen else 0
            self._seen += galaxy.request("GET", path, params={"after": after, "limit": PAGE}).json()["items"]

    def _has_ended(self, galaxy: LocalGalaxy, constellation: str) -> bool:
        self._read(galaxy, constellation)
        return bool(self._seen) and self._seen[-1]["kind"] == "constellation_ended"

    def _judge(self, galaxy: LocalGalaxy, constellation: str) -> None:
        picture = galaxy.request("GET", f"/v1/constellations/{constellation}").json()
        self._found.stars = {star["id"]: star["state"] for star in picture["stars"]}
        failures = [star["failure"] for star in picture["stars"] if star["state"] == "failed"]
        self._found.unknown = sum(failure["code"] == "outcome_unknown" for failure in failures)
        recorded: list[Event] = []
        path = f"/v1/constellations/{constellation}/events"
        while page := galaxy.request(
            "GET", path, params={"after": recorded[-1]["seq"] if recorded else 0, "limit": PAGE}
        ).json()["items"]:
            recorded += page
        self._found.verified = sum(event["kind"] == "effect_judged" for event in recorded)
        effects = self._effects.read_text("utf-8").split()
        others = [failure for failure in failures if failure["code"] != "outcome_unknown"]
        self._found.violations = [
            *violations(recorded, self._found.stars, effects),
            *lost(self._seen, recorded),
            *(f"a star failed for another reason: {failure}" for failure in others),
        ]

    def _guard(self) -> str:
        scripts = self._folder / "scripts"
        scripts.mkdir(exist_ok=True)
        where = shlex.quote(str(self._effects))
        (scripts / "count.sh").write_text(
            COUNT.format(effects=where, before_s=0.4 * self._call_s, after_s=0.6 * self._call_s), "utf-8"
        )
        readable = json.dumps([".", str(self._effects.parent)])
        return f"[programs.sh]\n[folders]\nread = {readable}\n"

    def _constellation(self, stars: int) -> dict[str, Any]:
        scripts = self._folder / "scripts"
        look = {"tool": "file.read", "arguments": {"path": str(self._effects)}}
        body: dict[str, Any] = {"name": f"soak {self._found.seed}", "stars": [], "lines": []}
        for i in range(stars):
            star = f"s{i}"
            body["stars"].append(
                {
                    "id": star,
                    "tool": "shell.run",
                    "arguments": {"argv": ["sh", str(scripts / "count.sh"), star]},
                    "effects": "once",
                    "retry": {"attempts": 50, "backoff_s": 0.05, "cap_s": 0.2},
                    "verify": {**look, "happened": f"result.content.matches('(?m)^{star}$')"} if i % 2 else None,
                }
            )
            if i >= LAYER:
                # What cannot verify may fail, and that must not end the run: so the lines are `always`.
                source = f"s{i - LAYER + self._random.randrange(-3, 1)}" if i > LAYER + 3 else f"s{i - LAYER}"
                body["lines"].append({"source": source, "target": star, "when": "always"})
        return body
