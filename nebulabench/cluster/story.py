"""The constellation that each cell runs, and the tool that says where it is and waits to be let on.

Three stars run at the same time on the device that the fault is about: `sure` may happen only once and can verify
whether it did, `blind` may happen only once and cannot, `plain` may be repeated. `last` waits for all of them. Where
the planner is asked, `sure` asks it, `behind` is held meanwhile, and the answer adds `more`.
"""

from pathlib import Path
from typing import Any

import httpx2

from ..checkers import Event
from .processes import Cluster, Device

BESIDE = ("sure", "blind", "plain")
PAGE = 1_000
UPLOAD_BYTES = 400_000
RETRY = {"attempts": 20, "backoff_s": 0.05, "cap_s": 0.2}

# It begins, happens, and ends; before the last two it waits to be let on. Only the second is the effect.
ACT = """\
: > "$1/$2.begun"
while [ ! -e "$1/$2.go" ]; do sleep 0.05; done
printf '%s\\n' "$2" >> "$1/$3"
: > "$1/$2.happened"
while [ ! -e "$1/$2.end" ]; do sleep 0.05; done
yes "$1 $2" | head -c "$4"
"""
# No other tools: of those that this machine has nothing for, and that are withdrawn, nothing is to be learned here.
GUARD = """\
tools = ["file.read", "shell.run", "system.echo"]
[folders]
read = [".", "{folder}"]
[programs.sh]
"""


def write_tools(folder: Path) -> None:
    """Put the programs where no device may write."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "act.sh").write_text(ACT, "utf-8")


class Story:
    """One run of the constellation on one device, as a client and the files see it."""

    def __init__(self, cluster: Cluster, device: Device, folder: Path, tools: Path) -> None:
        self.cluster = cluster
        self.device = device
        self.asks = False
        self.uploads = False
        self.id = ""
        self.seen: list[Event] = []
        self._folder = folder
        self._tools = tools
        folder.mkdir(parents=True)
        for file in ("effects", "again"):
            (folder / file).touch()

    @property
    def path(self) -> str:
        return f"/v1/constellations/{self.id}"

    async def submit(self) -> None:
        """Begin."""
        self.id = (await self.cluster.request("POST", "/v1/constellations", json=self._body()))["id"]

    def open(self, gate: str, *stars: str) -> None:
        """Let stars on, also in attempts that are yet to come: `go` to their effect, `end` to their end."""
        for star in stars:
            (self._folder / f"{star}.{gate}").touch()

    def has(self, mark: str, *stars: str) -> bool:
        """Return whether all these stars have begun, or happened."""
        return all((self._folder / f"{star}.{mark}").exists() for star in stars)

    def effects(self, file: str = "effects") -> list[str]:
        """Return a star's name for each time that it took effect."""
        return (self._folder / file).read_text("utf-8").split()

    async def heard(self, kind: str, *stars: str) -> bool:
        """Return whether the node has recorded an event of this kind about all of these stars."""
        await self.look()
        return set(stars) <= {event["star"] for event in self.seen if event["kind"] == kind}

    async def look(self) -> None:
        """Read on in the events: what was shown may never be lost. A node that is silent shows nothing."""
        try:
            self.seen += await self.events(self.seen[-1]["seq"] if self.seen else 0)
        except httpx2.HTTPError:
            return

    async def events(self, after: int = 0) -> list[Event]:
        """Return the recorded events behind a number."""
        found: list[Event] = []
        while page := (await self.cluster.request("GET", f"{self.path}/events", params=_from(found, after)))["items"]:
            found += page
        return found

    async def question(self) -> int:
        """Return the number of the open question, or 0."""
        try:
            picture = await self.picture()
        except httpx2.HTTPError:
            return 0
        return int(picture["question"]["number"]) if picture["question"] else 0

    async def answer(self) -> None:
        """Be the planner."""
        star = self._act("more", "once")
        del star["effects"], star["verify"]  # a planner has no say in it; the tool says `once` of itself
        more = {"op": "add_star", "star": star}
        line = {"op": "add_line", "line": {"source": "behind", "target": "more"}}
        body = {"operations": [more, line], "reason": "one more"}
        await self.cluster.request("POST", f"{self.path}/consults/{await self.question()}/answer", json=body)

    async def picture(self) -> dict[str, Any]:
        """Return the constellation as the node shows it."""
        found: dict[str, Any] = await self.cluster.request("GET", self.path)
        return found

    async def has_ended(self) -> bool:
        await self.look()
        return bool(self.seen) and self.seen[-1]["kind"] == "constellation_ended"

    def _body(self) -> dict[str, Any]:
        stars = [self._act("sure", "once"), self._act("blind", "once"), self._act("plain", "idempotent")]
        echo = {"id": "last", "tool": "system.echo", "arguments": {"value": 1}}
        stars.append(echo | {"needs": {"device": self.device.name}})  # on another, another cell's fault would meet it
        lines = [{"source": star, "target": "last", "when": "always"} for star in BESIDE]
        body: dict[str, Any] = {"name": self._folder.name, "stars": stars, "lines": lines}
        if self.asks:
            stars[0]["on_success"] = "consult"
            stars.append(self._act("behind", "once"))
            lines.append({"source": "sure", "target": "behind"})
            body["planning"] = {"planner": "external", "when": "never"}
        return body

    def _act(self, star: str, effect: str) -> dict[str, Any]:
        file, size = ("again" if star == "plain" else "effects"), (UPLOAD_BYTES if self.uploads else 0)
        found: dict[str, Any] = {
            "id": star,
            "tool": "shell.run",
            "arguments": {"argv": self._argv("act.sh", star, file, str(size))},
            "needs": {"device": self.device.name},
            "effects": effect,
            "retry": RETRY,
        }
        if effect == "once" and star != "blind":
            look = {"tool": "file.read", "arguments": {"path": str(self._folder / "effects")}}
            found["verify"] = {**look, "happened": f"result.content.contains('{star}')"}
        return found

    def _argv(self, tool: str, *words: str) -> list[str]:
        return ["sh", str(self._tools / tool), str(self._folder), *words]


def _from(found: list[Event], after: int) -> dict[str, int]:
    return {"after": found[-1]["seq"] if found else after, "limit": PAGE}
