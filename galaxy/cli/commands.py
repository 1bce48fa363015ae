"""The commands that talk to a node."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from .changes import foreseen
from .client import Client, connected, path_of
from .exits import CONSTELLATION_FAILED, INTERRUPTED, REFUSED, fail
from .plain import plain_json
from .progress import Watched
from .show import clock, console, listing, live, summary_table

Url = Annotated[str, typer.Option(envvar="GALAXY_URL", help="The node's URL")]
Token = Annotated[str, typer.Option(envvar="GALAXY_TOKEN", help="The API token", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Id = Annotated[str, typer.Argument(help="The constellation's id")]
StarId = Annotated[str, typer.Argument(help="The star's id")]
Reason = Annotated[str, typer.Option(help="For those who read the history")]

DEFAULT_URL = "http://127.0.0.1:8421"
YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def run(
    file: Annotated[Path | None, typer.Argument(help="YAML or JSON with stars, or with a goal; - reads stdin")] = None,
    goal: Annotated[str, typer.Option(help="What is wanted, in words; @FILE reads a file (an outline, say)")] = "",
    planner: Annotated[str, typer.Option(help="outline, llm, repair or external")] = "",
    name: Annotated[str, typer.Option(help="How it is called")] = "",
    repair: Annotated[bool, typer.Option(help="Let rules try first when a star fails")] = True,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end; exit 1 if it fails")] = False,
    key: Annotated[str, typer.Option(help="An Idempotency-Key: the same one never submits twice")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Submit a constellation: its stars from a file, or a goal for a planner."""
    body = _with_goal(document(file) if file else {}, goal, planner, name, repair=repair)
    with connected(url, token) as client:
        submitted = client.post("/v1/constellations", body, {"Idempotency-Key": key} if key else None)
        if watch:
            _follow_to_exit(client, submitted["id"], as_json=as_json)
        elif as_json:
            print_json(submitted)
        else:
            what = f"{submitted['stars']} stars" if submitted["stars"] else "its planner is asked"
            console().print(f"{submitted['id']} runs: {what}. Next: galaxy watch {submitted['id']}")


def get(
    constellation: Id,
    star: Annotated[str, typer.Option(help="Only this star, with why it is where it is")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Show a constellation, or one of its stars."""
    with connected(url, token) as client:
        if star:
            found = client.get(path_of("constellations", constellation, "stars", star))
            print_json(found) if as_json else console().print(_star_text(found))
        else:
            found = client.get(path_of("constellations", constellation))
            print_json(found) if as_json else console().print(summary_table(found))


def list_command(
    state: Annotated[str | None, typer.Option(help="Only those in this state")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the last page ended")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """List constellations, the newest first."""
    with connected(url, token) as client:
        page = client.get("/v1/constellations", state=state, limit=limit, cursor=cursor)
    if as_json:
        print_json(page)
        return
    rows = [
        (one["id"], one["state"], one["stars"], clock(one["submitted_at"]), clock(one["ended_at"]))
        for one in page["items"]
    ]
    console().print(listing(("id", "state", "stars", "submitted", "ended"), rows))
    if page["next"]:
        console().print(f"more: galaxy list --cursor {page['next']}", soft_wrap=True)


def watch(constellation: Id, as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Follow a constellation to its end; exit 1 if it fails."""
    with connected(url, token) as client:
        _follow_to_exit(client, constellation, as_json=as_json)


def cancel(
    constellation: Id, reason: Reason = "", as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = ""
) -> None:
    """Cancel a constellation: what runs is told to stop."""
    _act(url, token, constellation, "cancel", {"reason": reason}, as_json)


def pause(
    constellation: Id, reason: Reason = "", as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = ""
) -> None:
    """Dispatch nothing more of a constellation; what runs goes on."""
    _act(url, token, constellation, "pause", {"reason": reason}, as_json)


def resume(constellation: Id, as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Let a paused constellation go on."""
    _act(url, token, constellation, "resume", None, as_json)


def retry(constellation: Id, star: StarId, as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Try a star again: at once, or as a copy if it has failed for good."""
    with connected(url, token) as client:
        out = client.post(path_of("constellations", constellation, "stars", star, verb="retry"))
    print_json(out) if as_json else console().print(f"{star} is tried again: revision {out['revision']}")


def edit(
    constellation: Id,
    file: Annotated[Path, typer.Argument(help="YAML or JSON with `operations`; - reads stdin")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; show the diff and the forecast")] = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Change what has not started: all of the file's operations, or none."""
    body = document(file)
    if dry_run and isinstance(body, dict):
        body = {**body, "dry_run": True}
    with connected(url, token) as client:
        out = client.post(path_of("constellations", constellation, "edits"), body)
    if as_json:
        print_json(out)
    elif dry_run:
        console().print(*foreseen(out), sep="\n")
    else:
        console().print(f"{constellation} is at revision {out['revision']}")


def _with_goal(body: Any, goal: str, planner: str, name: str, *, repair: bool) -> Any:
    """Return the body with what the options say; end the command if there is nothing to run."""
    if not body and not goal:
        fail(REFUSED, "nothing to run: name a file, or give --goal")
    if not isinstance(body, dict):
        return body  # the node says what is wrong with it
    if goal:
        body = {**body, "goal": {"text": text_of(Path(goal[1:])) if goal.startswith("@") else goal}}
    if planner:
        body = {**body, "planning": {**(body.get("planning") or {}), "planner": planner}}
    if not repair:
        body = {**body, "planning": {**(body.get("planning") or {}), "repair": False}}
    return {**body, "name": name} if name else body


def text_of(file: Path) -> str:
    """Return what a text file holds; end the command if it cannot be read."""
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except OSError as exc:
        fail(REFUSED, f"cannot read {file}: {exc.strerror}")
    except UnicodeDecodeError as exc:
        fail(REFUSED, f"{file} is not a text in UTF-8: {exc}")


def document(file: Path) -> Any:
    """Return what a YAML or JSON file holds; end the command naming the place if it cannot be read."""
    text = text_of(file)
    try:
        value = _parsed(text)
        json.dumps(value, allow_nan=False)
        return value
    except yaml.YAMLError as exc:
        fail(REFUSED, f"{file} is neither YAML nor JSON: {exc}")
    except (TypeError, ValueError, RecursionError) as exc:  # YAML knows dates, sets and circles
        fail(REFUSED, f"{file} holds what JSON cannot say: {exc}")


def _parsed(text: str) -> Any:
    """Return what the text says. JSON is tried first: not all of it is YAML, and it takes a fraction of the time."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return yaml.load(text, Loader=YAML)  # noqa: S506 - both are safe loaders


def follow(
    client: Client, constellation: str, *, quiet: bool, heard: Callable[[dict[str, Any]], None] = lambda _: None
) -> dict[str, Any]:
    """Return a constellation's last picture, when it has ended; unless `quiet`, show how it gets there.

    `heard` is told each event as well.
    """
    watched, out = Watched(constellation), console()
    first = client.get(path_of("constellations", constellation))
    watched.look(first)
    if not quiet:
        out.print(f"{constellation}: {len(first['stars'])} stars" if first["stars"] else f"{constellation}: planned")
        for star in first["stars"]:
            if star["state"] == "ready" and star["wait"] and not star["wait"]["candidates"]:
                out.print(f"{star['id']} waits: {star['wait']['reason']}")
    if quiet:
        for event in client.follow(constellation):
            heard(event)
    else:
        with live(out, watched) as tell:
            for event in client.follow(constellation):
                tell(watched.hear(event))
                heard(event)
    picture: dict[str, Any] = client.get(path_of("constellations", constellation))
    if not quiet:
        out.print(summary_table(picture))
        if picture["answer"] is not None:
            said = picture["answer"]
            out.print(f"answer: {said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)}")
        if picture["reason"]:
            out.print(f"the planner: {picture['reason']}")
    return picture


def _follow_to_exit(client: Client, constellation: str, *, as_json: bool) -> None:
    try:
        picture = follow(client, constellation, quiet=as_json)
    except KeyboardInterrupt:
        fail(INTERRUPTED, f"it goes on: galaxy watch {constellation}, galaxy cancel {constellation}")
    if as_json:
        print_json(picture)
    if picture["state"] != "succeeded":
        raise typer.Exit(CONSTELLATION_FAILED)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    typer.echo(plain_json(json.dumps(value, ensure_ascii=False, indent=2)))


def _act(url: str, token: str, constellation: str, verb: str, body: Any, as_json: bool) -> None:
    with connected(url, token) as client:
        out = client.post(path_of("constellations", constellation, verb=verb), body)
    print_json(out) if as_json else console().print(f"{constellation}: {out['state']}")


def _star_text(star: dict[str, Any]) -> str:
    lines = [f"{star['id']}: {star['state']} ({star['tool']})"]
    for attempt in star["attempts"]:
        failure = f": {attempt['failure']['message']}" if attempt["failure"] else ""
        lines.append(f"  #{attempt['number']} {attempt['device']} {attempt['outcome'] or 'held'}{failure}")
        candidates = ", ".join(f"{c['device']} {c['held']}/{c['slots']}" for c in attempt["placement"]["candidates"])
        lines.append(f"     chosen of: {candidates}")
        lines += [f"     not {device}: {reason}" for device, reason in attempt["placement"]["refused"].items()]
        lines += [f"     tools found by its words: {', '.join(attempt['tools'])}"] if attempt["tools"] else []
    if star["wait"]:
        lines.append(f"  waits: {star['wait']['reason']}")
        lines += [f"     {device}: {reason}" for device, reason in star["wait"]["refused"].items()]
    if star["cause"]:
        lines.append(f"  because {star['cause']}")
    if star["result"] is not None:
        lines.append(f"  result: {json.dumps(star['result'], ensure_ascii=False)[:500]}")
    return "\n".join(lines)
