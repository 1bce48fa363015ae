"""The command `nebulabench placement`."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from .table import GRAPHS, rows, summary

HEFT_OVER_OFFLINE_MAX = 1.10
HEFT_OVER_ROUND_ROBIN_MAX = 0.70


def placement(
    seeds: Annotated[int, typer.Option(help="Fleets, each with six constellations", min=1, max=10_000)] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Compare the policies of placement with HEFT that knows everything before; exit 1 if the default is too slow."""
    every = rows(range(seeds))
    found = list(every if as_json else track(every, "placement", seeds, console=Console(stderr=True)))
    shown = summary(found)
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    else:
        _print(shown)
    last = shown["last"]
    if last["heft"] > HEFT_OVER_OFFLINE_MAX or last["heft"] > HEFT_OVER_ROUND_ROBIN_MAX * last["round_robin"]:
        raise typer.Exit(1)


def _print(shown: dict[str, Any]) -> None:
    ways = list(shown["last"])
    table = Table("constellations", *ways, title=f"makespan over that of offline HEFT, mean of {shown['seeds']} fleets")
    named = {"the first of a fleet": shown["first"], f"the {GRAPHS}th": shown["last"]}
    named |= {f"the {GRAPHS}th, moving/making {ccr}": row for ccr, row in shown["last_by_ccr"].items()}
    for name, row in named.items():
        table.add_row(name, *(f"{row[way]:.2f}" for way in ways))
    Console().print(table)
