"""The commands about calls that wait for a person, and about rules that say yes in advance."""

import json
from typing import Annotated, Any

import typer

from .client import connected, path_of
from .commands import DEFAULT_URL, AsJson, Id, Reason, StarId, Token, Url, print_json
from .exits import REFUSED, fail
from .show import clock, console, listing

rules_app = typer.Typer(help="Rules that approve calls in advance: list, add, end.", invoke_without_command=True)

Attempt = Annotated[int | None, typer.Option(min=1, help="By default the one that is asked about")]

MINUTE_S, HOUR_S, DAY_S = 60.0, 3_600.0, 86_400.0


def approvals(as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """List the calls that wait for a person, those that have waited longest first."""
    with connected(url, token) as client:
        found = client.get("/v1/approvals")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["constellation"],
            f"{one['star']}#{one['attempt']}",
            one["device"],
            _call(one),
            one["effect"],
            clock(one["asked_at"]),
            span(one["expires_at"] - found["at"]),
        )
        for one in found["items"]
    ]
    out = console()
    out.print(listing(("constellation", "star", "device", "call", "effect", "asked", "expires in"), rows))
    if found["total"] > len(rows):
        out.print(f"and {found['total'] - len(rows)} more")
    elif found["items"]:
        first = found["items"][0]
        out.print(f"Next: galaxy approve {first['constellation']} {first['star']}", soft_wrap=True)


def approve(
    constellation: Id,
    star: StarId,
    attempt: Attempt = None,
    reason: Reason = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Let the call be made that waits for approval: this very one, and no other."""
    _decide(url, token, (constellation, star, "approve"), {"attempt": attempt, "reason": reason}, as_json=as_json)


def deny(
    constellation: Id,
    star: StarId,
    attempt: Attempt = None,
    reason: Reason = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Refuse the call that waits for approval; its star has failed."""
    _decide(url, token, (constellation, star, "deny"), {"attempt": attempt, "reason": reason}, as_json=as_json)


@rules_app.callback()
def rules(context: typer.Context, as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """List the rules: who made each, until when it holds, and what it lets through."""
    if context.invoked_subcommand:
        return
    with connected(url, token) as client:
        found = client.get("/v1/rules")
    if as_json:
        print_json(found)
        return
    rows = [(one["id"], one["by"], clock(one["expires_at"]), one["allows"]) for one in found["items"]]
    console().print(listing(("rule", "by", "until", "lets through"), rows))


@rules_app.command("add")
def add_rule(
    tool: Annotated[str, typer.Option(help="The tool whose calls are approved")],
    arguments: Annotated[str, typer.Option(help="JSON: these very arguments; a * in them is refused")] = "",
    pattern: Annotated[str, typer.Option(help="JSON: of the arguments' shape; in a text, * is any characters")] = "",
    device: Annotated[str, typer.Option(help="Only on this device")] = "",
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 365, help="How long it holds")] = 24.0,
    owner: Annotated[str, typer.Option(help="Who says so", envvar="GALAXY_OWNER")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Approve calls like these in advance, also those that wait already."""
    if bool(arguments) == bool(pattern):
        fail(REFUSED, "give one of --arguments and --pattern: what the rule lets through")
    wanted = _json(arguments or pattern)
    if arguments and "*" in json.dumps(wanted):  # whichever way the JSON spells it
        fail(REFUSED, "--arguments are taken as they are, and in a rule * stands for anything: give --pattern instead")
    body = {"tool": tool, "pattern": wanted, "hours": hours, "owner": owner}
    with connected(url, token) as client:
        made = client.post("/v1/rules", body | ({"device": device} if device else {}))
    if as_json:
        print_json(made)
    else:
        console().print(f"{made['id']} until {clock(made['expires_at'])}: {made['allows']}", soft_wrap=True)


@rules_app.command("end")
def end_rule(
    rule: Annotated[str, typer.Argument(help="The rule's id")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """End a rule: it approves nothing more."""
    with connected(url, token) as client:
        ended = client.delete(path_of("rules", rule))
    print_json(ended) if as_json else console().print(f"{rule} has ended")


def span(seconds: float) -> str:
    """Return a time that is left, as people say it."""
    if seconds < 1:
        return "now"
    for size, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} s"


def _decide(url: str, token: str, what: tuple[str, str, str], body: dict[str, Any], *, as_json: bool) -> None:
    constellation, star, verb = what
    sent = {key: value for key, value in body.items() if value}
    with connected(url, token) as client:
        out = client.post(path_of("constellations", constellation, "stars", star, verb=verb), sent)
    if as_json:
        print_json(out)
    else:
        console().print(f"{out['constellation']}/{out['star']}#{out['attempt']}: {out['decision']}")


def _call(asked: dict[str, Any]) -> str:
    arguments = json.dumps(asked["arguments"], ensure_ascii=False)
    if asked["instruction"]:
        tools = ", ".join(asked["instruction"]["tools"]) or "no tools"
        return f"{asked['instruction']['text']} (with {tools}) {arguments}"
    return f"{asked['tool']} {arguments}"


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        fail(REFUSED, f"that is not JSON: {exc}")
