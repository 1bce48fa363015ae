"""The commands about devices and tokens."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from .client import connected, path_of
from .commands import DEFAULT_URL, AsJson, Reason, Token, Url, print_json
from .exits import REFUSED, fail
from .show import clock, console, listing

devices_app = typer.Typer(help="Devices: list, look, drain, revoke.", invoke_without_command=True)
token_app = typer.Typer(help="Tokens: let a device join, or make a new API token.", no_args_is_help=True)

DeviceId = Annotated[str, typer.Argument(help="The device's name")]


@devices_app.callback()
def devices(context: typer.Context, as_json: AsJson = False, url: Url = DEFAULT_URL, token: Token = "") -> None:
    """List the devices."""
    if context.invoked_subcommand:
        return
    with connected(url, token) as client:
        found = client.get("/v1/devices")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["id"],
            one["kind"],
            _presence(one),
            f"{one['held']}/{one['slots']}",
            _tools(one),
            " ".join(f"{key}={value}" for key, value in one["labels"].items()),
            _vitals(one["vitals"]),
            clock(one["suspected_at"] or one["since"]),
        )
        for one in found["items"]
    ]
    console().print(listing(("device", "kind", "presence", "held", "tools", "labels", "vitals", "since"), rows))


@devices_app.command("get")
def get_device(
    device: DeviceId,
    tool: Annotated[str, typer.Option(help="Only this tool, as JSON: the schemas of what it takes and gives")] = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Show a device with its tools, or what one of them takes and gives."""
    with connected(url, token) as client:
        found = client.get(path_of("devices", device))
    if tool:
        print_json(_one_tool(found, tool))
        return
    if as_json:
        print_json(found)
        return
    withdrawn = found["withdrawn"]
    rows = [(each["name"], each["effect"], _does(each, withdrawn.get(each["name"], ""))) for each in found["tools"]]
    console().print(f"{found['id']}: {_presence(found)}, {found['held']} of {found['slots']} slots held")
    for why in filter(None, (found["suspected"], found["draining"], found["reason"])):
        console().print(why)
    console().print(listing(("tool", "effect", "does"), rows))


def _does(tool: dict[str, Any], withdrawn: str) -> str:
    """Return the first line of what a tool says of itself, or why it does not work just now."""
    return f"withdrawn: {withdrawn}" if withdrawn else str(tool["description"].split("\n")[0])


def _tools(device: dict[str, Any]) -> str:
    withdrawn = len(device["withdrawn"])
    return f"{len(device['tools']) - withdrawn} (+{withdrawn} withdrawn)" if withdrawn else str(len(device["tools"]))


def _one_tool(device: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next((each for each in device["tools"] if each["name"] == name), None)
    if found is None:
        near = get_close_matches(name, [each["name"] for each in device["tools"]], n=3)
        fail(REFUSED, f"{device['id']} has no tool {name}" + (f"; it has {', '.join(near)}" if near else ""))
    return found


@devices_app.command("drain")
def drain(device: DeviceId, reason: Reason = "", url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Give a device no new work, until its agent is started again."""
    _act(url, token, device, "drain", reason)


@devices_app.command("revoke")
def revoke(device: DeviceId, reason: Reason = "", url: Url = DEFAULT_URL, token: Token = "") -> None:
    """Take a device's key's right away, and its work back."""
    _act(url, token, device, "revoke", reason)


@token_app.command("join")
def join_token(
    minutes: Annotated[float, typer.Option(help="How long it may be used", min=0.1, max=1440)] = 15.0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Make a token with which one device can join, once."""
    with connected(url, token) as client:
        made = client.post("/v1/join-tokens", {"minutes": minutes})
    out = console()
    if as_json:
        print_json(made)
    elif out.is_terminal:
        out.print(made["token"], soft_wrap=True)
        out.print(f"On the device: galaxy-agent join {url} {made['token']} --name NAME", soft_wrap=True)
    else:
        typer.echo(made["token"])


@token_app.command("reset")
def reset_token(
    data: Annotated[Path | None, typer.Option(help="The node's folder")] = None,
    database: Annotated[str | None, typer.Option(help="The node's PostgreSQL URL")] = None,
) -> None:
    """Make a new API token in place of the old one. The node must be stopped."""
    import asyncio

    from ..node import Settings, new_api_token
    from ..store.errors import StoreError

    given = {"data": data, "database": database}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value})  # type: ignore[arg-type]
        typer.echo(asyncio.run(new_api_token(settings)))
    except StoreError as exc:
        fail(REFUSED, str(exc))


def _vitals(told: dict[str, Any]) -> str:
    """Return in a few words what there is to know of how the device is."""
    words = []
    if told["load"] is not None:
        words.append(f"load {told['load']:.2f}")
    if told["battery"] is not None:
        words.append(f"battery {told['battery']:.0%}{' charging' if told['charging'] else ''}")
    if told["temperature_c"] is not None:
        words.append(f"{told['temperature_c']:.0f} °C")
    words += [word for word, key in (("metered", "metered"), ("in use", "in_use"), ("locked", "locked")) if told[key]]
    return ", ".join(words)


def _presence(device: dict[str, Any]) -> str:
    if device["suspected"]:
        return "suspected"
    return "draining" if device["draining"] else str(device["presence"])


def _act(url: str, token: str, device: str, verb: str, reason: str) -> None:
    with connected(url, token) as client:
        out = client.post(path_of("devices", device, verb=verb), {"reason": reason})
    console().print(f"{device}: {'draining' if out['draining'] else out['presence']}")
