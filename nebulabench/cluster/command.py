"""The command `nebulabench faults`."""

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from .matrix import CELLS, named
from .run import run_cells
from .verdict import Verdict

COLUMNS = "{:<32} {:>5} {:>10} {:>10} {:>5} {:>6} {:>8}"


def faults(
    cell: Annotated[str, typer.Option(help="fault/moment, or only one of the two; default: all")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep what the processes said in this folder")] = None,
) -> None:
    """Break a real node, five agents and the network between them, and judge each run; exit 1 if any is wrong."""
    cells = named(cell)
    if not cells:
        typer.echo(f"no cell {cell!r}; there are {', '.join(each.name for each in CELLS)}", err=True)
        raise typer.Exit(2)
    if not as_json:
        typer.echo(COLUMNS.format("cell", "pass", "recovery s", "duplicates", "lost", "wasted", "unknown"))
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nebulabench-faults-", ignore_cleanup_errors=True) as folder:
        found = asyncio.run(run_cells(cells, keep or Path(folder), lambda verdict: None if as_json else _row(verdict)))
    failed = [verdict for verdict in found.values() if not verdict.passed]
    if as_json:
        typer.echo(json.dumps([found[each.name].shown() for each in cells], indent=2))
    else:
        typer.echo(f"{len(found) - len(failed)} of {len(found)} cells pass, in {time.monotonic() - began:.0f} s")
    raise typer.Exit(1 if failed else 0)


def _row(found: Verdict) -> None:
    says = "yes" if found.passed else "NO"
    typer.echo(
        COLUMNS.format(found.cell, says, found.recovery_s, found.duplicates, found.lost, found.wasted, found.unknown)
    )
    for violation in found.violations:
        typer.echo(f"    {violation}")
