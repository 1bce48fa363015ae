"""The command `nebulabench placement`."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from galaxy.core.placement.policies import POLICIES

from .limits import judged, limits
from .table import GRAPHS, rows, summary

HEFT_OVER_OFFLINE_MAX = 1.10
HEFT_OVER_ROUND_ROBIN_MAX = 0.70


def placement(
    seeds: Annotated[int, typer.Option(help="Fleets, each with six constellations", min=1, max=10_000)] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Compare the policies of placement with HEFT that knows everything before, and hold each lease against the limits.

    Exit 1 if the default is too slow, or a limit of a battery, a network or a person is broken.
    """
    every = rows(range(seeds))
    changing = (judged(seed, list(POLICIES)[seed % len(POLICIES)]) for seed in range(seeds))
    console = Console(stderr=True)
    found = list(every if as_json else track(every, "placement", seeds, console=console))
    verdicts = list(changing if as_json else track(changing, "limits", seeds, console=console))
    shown = {**summary(found), "limits": limits(verdicts)}
    if as_json:
        typer.echo(json.dumps(shown, indent=2))
    else:
        _print(shown)
    last = shown["last"]
    if shown["limits"]["broken"]:
        raise typer.Exit(1)
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
    found = shown["limits"]
    told = f"{found['leases']:,} leases on devices that change, {found['tempted']:,} while one was not to be used"
    Console().print(f"limits: {told}: {len(found['broken'])} broke a limit")
    for each in found["broken"][:10]:
        Console().print(f"  seed {each['seed']}: {each['star']} on {each['device']}: {each['why']}")
