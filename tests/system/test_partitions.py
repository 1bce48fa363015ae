"""Node and agents in network namespaces of their own, with partitions that the kernel makes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nebulabench.checkers import violations
from nebulabench.cluster.namespaces import RULES, Network, network, wait, why_not

HEARTBEAT_S = 0.5
STARS = 6
GUARD = '[folders]\nread = [".", "{folder}"]\n[programs.sh]\n'
ACT = 'sleep 0.4\nprintf "%s\\n" "$2" >> "$1/effects"\nsleep 0.4\n'
REASON = why_not()

pytestmark = [
    pytest.mark.netns,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}"),
]


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("partitions")
    (folder / "act.sh").write_text(ACT, "utf-8")
    with network(folder, heartbeat_s=HEARTBEAT_S) as made:
        for name in ("ada", "bob"):
            made.add_agent(name, GUARD.format(folder=folder))
        wait(made.connected, "both are connected")
        yield made


def star(folder: Path, runs: Path, number: int) -> dict[str, Any]:
    """Return one that may happen only once, on the device that is cut off or on the other."""
    name = f"s{number}"
    return {
        "id": name,
        "tool": "shell.run",
        "arguments": {"argv": ["sh", str(folder / "act.sh"), str(runs), name]},
        "needs": {"device": "ada" if number % 2 else "bob"},
        "effects": "once",
        "retry": {"attempts": 10, "backoff_s": 0.1, "cap_s": 0.5},
        "verify": {
            "tool": "file.read",
            "arguments": {"path": str(runs / "effects")},
            "happened": f"result.content.contains('{name}')",
        },
        "disconnect": {"lost_after_s": 3.0, "stop_after_s": 2.0},
    }


@pytest.mark.parametrize("kind", list(RULES))
def test_a_partition_that_the_kernel_makes_loses_nothing_and_repeats_nothing(lent: Network, kind: str):
    runs = lent.folder / kind
    runs.mkdir()
    (runs / "effects").touch()
    stars = [star(lent.folder, runs, number) for number in range(STARS)]
    lines = [{"source": f"s{n}", "target": f"s{n + 2}", "when": "always"} for n in range(STARS - 2)]
    path = f"/v1/constellations/{_submitted(lent, kind, stars, lines)}"
    wait(lambda: bool((runs / "effects").read_text("utf-8")), "something has happened")
    lent.partition("ada", kind)
    if kind != "lossy":
        wait(lambda: not lent.connected(), "it is missed")
    wait(lambda: _ended(lent, path, "s4"), "what is on the other device goes on meanwhile")
    lent.heal("ada")
    wait(lambda: lent.request("GET", path)["state"] in ("succeeded", "failed"), "it has ended", 90.0)

    shown = lent.request("GET", path)
    states = {one["id"]: one["state"] for one in shown["stars"]}
    events = lent.request("GET", f"{path}/events", params={"limit": 1000})["items"]
    effects = (runs / "effects").read_text("utf-8").split()
    assert violations(events, states, effects) == []
    assert shown["state"] == "succeeded", shown
    wait(lent.connected, "both are connected again")


def _submitted(lent: Network, kind: str, stars: list[dict[str, Any]], lines: list[dict[str, Any]]) -> str:
    body = {"name": kind, "stars": stars, "lines": lines}
    return str(lent.request("POST", "/v1/constellations", json=body)["id"])


def _ended(lent: Network, path: str, name: str) -> bool:
    return any(one["id"] == name and one["state"] == "succeeded" for one in lent.request("GET", path)["stars"])
