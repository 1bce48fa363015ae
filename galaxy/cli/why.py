"""The command that tells why a star is where it is: every device with its terms, or with its reason."""

from typing import Annotated, Any

import typer

from .client import Client, connected, path_of
from .commands import DEFAULT_URL, AsJson, StarId, Token, Url, print_json
from .exits import REFUSED, fail
from .show import console, listing

LOOKED_THROUGH = 20  # of the newest constellations, for a star that is named alone
TERMS = ("starts_in_s", "moves_s", "runs_s", "behind_s", "burden_s", "score_s")
HEADINGS = ("", "device", "starts in", "moves", "runs", "behind", "burden", "sum", "held", "seen", "what is against it")


def why(
    star: StarId,
    constellation: Annotated[str, typer.Option(help="Its id; by default the newest that has such a star")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Tell why a star is where it is, or waits: every device with its terms, or why it cannot take the star."""
    with connected(url, token) as client:
        found = client.get(
            path_of("constellations", constellation or _newest(client, star), "stars", star, "placement")
        )
    if as_json:
        print_json(found)
        return
    out, last = console(), found["last"]
    out.print(f"{found['star']} of {found['constellation']}: {found['state']}")
    if last:
        out.print(f"attempt {last['attempt']} went to {last['device']}: {last['outcome'] or 'under way'}")
    if found["wait"]:
        out.print(f"it waits: {found['wait']}")
    out.print(f"the next attempt, as {found['policy']} ranks the devices now:")
    out.print(listing(HEADINGS, [_row(number, one) for number, one in enumerate(found["devices"], 1)]))


def _newest(client: Client, star: str) -> str:
    """Return the newest constellation that has the star."""
    for one in client.get("/v1/constellations", limit=LOOKED_THROUGH)["items"]:
        picture = client.get(path_of("constellations", one["id"]))
        if any(each["id"] == star for each in picture["stars"]):
            return str(one["id"])
    said = f"none of the {LOOKED_THROUGH} newest constellations has a star {star}"
    return fail(REFUSED, f"{said}; name its own with --constellation ID")


def _row(number: int, one: dict[str, Any]) -> tuple[Any, ...]:
    if not one["able"]:
        return "", one["device"], *[""] * (len(TERMS) + 2), one["reason"]
    terms = [f"{one[term]:.3g} s" for term in TERMS]
    return f"{number}.", one["device"], *terms, f"{one['held']}/{one['slots']}", one["calls_seen"], one["burden"] or ""
