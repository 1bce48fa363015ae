"""`galaxy gc` lets go of what has been kept for long enough; `galaxy check` reads all and says what is wrong."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..node import Settings, checked, let_go
from ..store.errors import StoreError, StoreInUse
from .client import connected
from .commands import DEFAULT_URL, AsJson, Token, Url, print_json
from .exits import REFUSED, UNSOUND, fail
from .show import console, listing

Data = Annotated[Path | None, typer.Option(help="The folder of a node that is stopped")]
Database = Annotated[str | None, typer.Option(help="The PostgreSQL URL of a node that is stopped")]

KB = 1_024


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go")] = False,
    keep_ended_days: Annotated[
        float | None, typer.Option(help="Keep ended constellations so long, whatever the settings say", min=0.001)
    ] = None,
    data: Data = None,
    database: Database = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Let go of what has been kept for long enough: by the node, or with --data or --database without it."""
    tally: dict[str, list[int]] | None = None
    if data or database:
        try:
            settings = _settings(data=data, database=database, keep_ended_days=keep_ended_days)
            found = asyncio.run(let_go(settings, dry_run=dry_run))
            tally = {kind: list(gone) for kind, gone in found.items()}
        except StoreInUse:
            typer.echo(f"its node is running: asking {url}", err=True)
        except (StoreError, ValueError) as exc:
            fail(REFUSED, str(exc))
    if tally is None:
        tally = _asked(url, token, {"dry_run": dry_run, "keep_ended_days": keep_ended_days})
    items = [{"kind": kind, "amount": amount, "bytes": size} for kind, (amount, size) in tally.items()]
    if as_json:
        print_json({"dry_run": dry_run, "items": items})
        return
    rows = [(kind, amount or "-", _size(size)) for kind, (amount, size) in tally.items() if amount or size]
    console().print(listing(("would go" if dry_run else "gone", "how many", "bytes"), rows or [("nothing", "", "")]))


def check(data: Data = None, database: Database = None, as_json: AsJson = False) -> None:
    """Read all that a stopped node has recorded, replay it, and say what is wrong with it."""
    try:
        report = asyncio.run(checked(_settings(data=data, database=database)))
    except (StoreError, ValueError) as exc:
        fail(REFUSED, str(exc))
    findings = [{"where": where, "what": what} for where, what in report.findings]
    counts = {name: getattr(report, name) for name in ("streams", "events", "bytes", "snapshots", "artifacts")}
    if as_json:
        print_json({**counts, "findings": findings})
    else:
        console().print(listing(("read", "how many"), counts.items()))
        if findings:
            console().print(listing(("where", "what is wrong"), [(one["where"], one["what"]) for one in findings]))
    if findings:
        fail(UNSOUND, "the store is damaged: restore a copy of it")


def _asked(url: str, token: str, body: dict[str, Any]) -> dict[str, list[int]]:
    """Return what the node let go of, part by part."""
    tally: dict[str, list[int]] = {}
    with connected(url, token) as client:
        more = True
        while more:
            answer = client.post("/v1/upkeep", {name: value for name, value in body.items() if value is not None})
            for item in answer["items"]:
                total = tally.setdefault(item["kind"], [0, 0])
                total[0] += item["amount"]
                total[1] += item["bytes"]
            more = answer["more"]
    return tally


def _settings(**given: Any) -> Settings:
    known: Mapping[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Settings(**known)


def _size(size: int) -> str:
    if size < KB:
        return f"{size} B"
    return f"{size / KB:.1f} KB" if size < KB * KB else f"{size / KB / KB:.1f} MB"
