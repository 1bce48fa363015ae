"""The command `nebulabench`."""

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .cluster.command import faults
from .cut import cut as cut_measured
from .dispatch import measured
from .edits import edits as edits_measured
from .graphs import Shape
from .placement.command import placement
from .recovery import FIGURE, SESSIONS, figures
from .soak import soaked
from .world.command import simulate

app = typer.Typer(help="NebulaBench: measure and break real galaxies.", no_args_is_help=True)


app.command()(faults)
app.command()(placement)
app.command()(simulate)


@app.callback()
def nebulabench() -> None:
    """Measure and break real galaxies."""


@app.command()
def dispatch(
    graph: Annotated[Shape, typer.Option(help="How the stars depend on each other")] = Shape.LAYERED,
    stars: Annotated[int, typer.Option(min=10, max=100_000)] = 10_000,
    devices: Annotated[int, typer.Option(min=1, max=100)] = 5,
    durability: Annotated[str, typer.Option(help="power or process")] = "power",
    database: Annotated[str, typer.Option(help="A PostgreSQL URL, instead of SQLite")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Measure how fast stars go through a node and real agents."""
    _show(measured(graph, stars, devices, durability, database=database), as_json=as_json)


@app.command()
def edits(
    stars: Annotated[int, typer.Option(min=200, max=100_000)] = 1_000,
    rounds: Annotated[int, typer.Option(min=10, max=10_000)] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Measure what it costs to check, rebase and apply an edit of twenty operations."""
    _show(edits_measured(stars, rounds), as_json=as_json)


@app.command()
def cut(
    think_s: Annotated[float, typer.Option(help="How long the planner takes", min=0.1, max=30)] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Measure what a question to a slow planner costs a branch that it is not about."""
    _show(cut_measured(think_s), as_json=as_json)


@app.command()
def recovery(
    sessions: Annotated[int, typer.Option(help="That are cut at once", min=10, max=8_000)] = SESSIONS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Measure how soon a real galaxy is itself again after a kill, a cut and a storm; exit 1 if late."""

    def tell(figure: dict[str, Any]) -> None:
        if not as_json:
            more = ", ".join(f"{key} {value}" for key, value in figure.items() if key not in FIGURE)
            typer.echo("{met} {measured} {unit} (target {target}): {what}; ".format(**figure) + more)

    with tempfile.TemporaryDirectory(prefix="nebulabench-", ignore_cleanup_errors=True) as folder:
        found = figures(Path(folder), sessions, tell)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    if not all(figure["met"] for figure in found):
        raise typer.Exit(1)


@app.command()
def soak(
    minutes: Annotated[float, typer.Option(help="Go on for so long; at least one run", min=0)] = 10.0,
    seed: Annotated[int, typer.Option(help="Of the first run; the next has the next")] = 1,
    kills: Annotated[int, typer.Option(help="In each run", min=0)] = 20,
    stars: Annotated[int, typer.Option(help="In each run", min=30)] = 200,
) -> None:
    """Kill a node and its agents at random while effects run, and count the effects; exit 1 if any is wrong."""
    until = time.monotonic() + 60 * minutes
    while True:
        found = soaked(seed, stars=stars, kills=kills, tell=typer.echo)
        facts = (
            f"{sum(found.kills.values())} kills, {found.verified} verified, {found.unknown} unknown, {found.wall_s} s"
        )
        verdict = "\n  ".join(found.violations) or "nothing was lost, and nothing happened twice"
        typer.echo(f"seed {seed}: {facts}: {verdict}")
        if found.violations:
            raise typer.Exit(1)
        if time.monotonic() >= until:
            return
        seed += 1


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        typer.echo(f"{name:>20}  {value}")


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
