"""The command `nebulabench simulate`."""

import json
import time
from collections import Counter
from dataclasses import fields
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from .faults import PROFILES
from .plan import planned
from .shrink import shrunk
from .simulate import Verdict, several, simulated
from .trace import story

TOLD_MAX = 20  # seeds that broke something


def simulate(
    seeds: Annotated[str, typer.Option(help="From and to before, as 0:200")] = "0:200",
    profile: Annotated[str, typer.Option(help=f"What goes wrong: {', '.join(PROFILES)}, or all")] = "all",
    seed: Annotated[int | None, typer.Option(help="This one alone", min=0)] = None,
    trace: Annotated[bool, typer.Option("--trace", help="With --seed: tell its story")] = False,
    shrink: Annotated[bool, typer.Option("--shrink", help="With --seed: make it small first")] = False,
    jobs: Annotated[int, typer.Option(help="Processes; 0: as many as there are processors", min=0)] = 0,
    minutes: Annotated[float, typer.Option(help="Go on with further seeds for so long", min=0)] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Run whole galaxies in virtual time while everything goes wrong; exit 1 if a rule of the judges broke."""
    profiles = _profiles(profile)
    if seed is not None:
        _alone(seed, profiles[0] if len(profiles) == 1 else "harsh", trace=trace, shrink=shrink, as_json=as_json)
        return
    first, last = _span(seeds)
    began, found = time.monotonic(), []
    while True:
        for each in profiles:
            verdicts = several(range(first, last), each, jobs)
            shown = verdicts if as_json else track(verdicts, each, last - first, console=Console(stderr=True))
            found += list(shown)
        if time.monotonic() - began >= 60 * minutes:
            break
        first, last = last, 2 * last - first
    _show(found, time.monotonic() - began, as_json=as_json)
    if any(not verdict.passed for verdict in found):
        raise typer.Exit(1)


def _alone(seed: int, profile: str, *, trace: bool, shrink: bool, as_json: bool) -> None:
    plan = planned(seed, profile)
    if shrink:
        plan = shrunk(plan, lambda text: typer.echo(text, err=True))
    verdict, history = simulated(plan)
    if trace and not as_json:
        for line in story(plan, history):
            typer.echo(line)
    if as_json:
        typer.echo(json.dumps(_facts(verdict) | ({"story": list(story(plan, history))} if trace else {}), indent=2))
    else:
        for text in verdict.violations:
            typer.echo(f"broken: {text}")
        typer.echo(_line([verdict], verdict.wall_s))
    if not verdict.passed:
        raise typer.Exit(1)


def _show(found: list[Verdict], took_s: float, *, as_json: bool) -> None:
    broken = [verdict for verdict in found if not verdict.passed]
    if as_json:
        kinds: Counter[str] = sum((verdict.kinds for verdict in found), Counter())
        facts: dict[str, Any] = {
            "seeds": len(found),
            "passed": len(found) - len(broken),
            "simulated_min": round(sum(verdict.simulated_s for verdict in found) / 60, 1),
            "wall_s": round(took_s, 1),
            "simulated_min_per_s": round(sum(verdict.simulated_s for verdict in found) / 60 / took_s, 1),
            "kinds": dict(sorted(kinds.items())),
            "broken": [_facts(verdict) for verdict in broken],
        }
        typer.echo(json.dumps(facts, indent=2))
        return
    for verdict in broken[:TOLD_MAX]:
        typer.echo(f"seed {verdict.seed} {verdict.profile}: {verdict.violations[0]}")
        typer.echo(f"  nebulabench simulate --profile {verdict.profile} --seed {verdict.seed} --shrink --trace")
    typer.echo(_line(found, took_s))


def _line(found: list[Verdict], took_s: float) -> str:
    minutes = sum(verdict.simulated_s for verdict in found) / 60
    broken = sum(not verdict.passed for verdict in found)
    return (
        f"{len(found)} seeds, {minutes:.0f} simulated minutes in {took_s:.1f} s ({minutes / took_s:.0f} a second), "
        f"{sum(one.attempts for one in found)} attempts at {sum(one.stars for one in found)} stars, "
        f"{sum(one.faults for one in found)} faults: {f'{broken} broke a rule' if broken else 'every rule held'}"
    )


def _facts(verdict: Verdict) -> dict[str, Any]:
    told = {one.name: getattr(verdict, one.name) for one in fields(verdict)}
    return {"passed": verdict.passed, **told, "kinds": dict(sorted(verdict.kinds.items()))}


def _profiles(said: str) -> tuple[str, ...]:
    if said == "all":
        return PROFILES
    if said not in PROFILES:
        raise typer.BadParameter(f"{said} is none of {', '.join(PROFILES)} and all", param_hint="--profile")
    return (said,)


def _span(said: str) -> tuple[int, int]:
    first, colon, last = said.partition(":")
    if not (first.isdecimal() and (last.isdecimal() or not colon)):
        raise typer.BadParameter(f"write {said} as 0:200", param_hint="--seeds")
    return (int(first), int(last)) if colon else (int(first), int(first) + 1)
