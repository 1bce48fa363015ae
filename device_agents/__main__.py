"""The command `galaxy-agent`: join a galaxy once, then run."""

import asyncio
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Annotated, NoReturn

import structlog
import typer
from rich.console import Console
from rich.table import Table

from protocol.vocabulary import NAME, Kind

from .agent import Agent, Parts, SentAway
from .brain_model import GALAXY_PATH, Endpoint, Model
from .doctor import examined
from .guard import BadPolicy, Guard
from .identity import GUARD_FILE, Identity, JoinRefused, NotJoined, StateInUse, join, locked
from .kinds import Offer, Own, offer
from .log_text import visible_traceback, visible_values
from .outbox import Outbox, OutboxFailed
from .reconnect import Reconnect
from .services import beside
from .shelf import Shelf
from .tools import BadTools, settings, tools_for, vitals_of
from .vitals import reader
from .wishes import NoAgent, Wish, asked, listen, seconds, taken
from .work import Bench

app = typer.Typer(help="The agent that runs on a device and offers its tools to a galaxy.", no_args_is_help=True)

REFUSED, SENT_AWAY = 3, 4
SLOTS_MAX = 1_000
STATE_HELP = "The device's folder: its key, its guard.toml, its outbox."


class LogLevel(StrEnum):
    """How much the agent says of itself."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


State = Annotated[Path, typer.Option(help=STATE_HELP, envvar="GALAXY_AGENT_STATE")]
NO_BRAIN, GALAXYS_BRAIN = "off", "galaxy"
BRAIN_KEY = "GALAXY_BRAIN_KEY"  # not an option: what stands on a command line, every user of the machine can read
DEFAULT_STATE = Path("~/.galaxy-agent")
# Their debug lines hold headers, and with these keys; or frames, and with these the tokens of sessions.
TELLTALES = frozenset({"httpx2", "httpcore2", "openai", "websockets"})


@app.command("join")
def join_command(
    url: Annotated[str, typer.Argument(help="The galaxy's URL, such as http://127.0.0.1:8421")],
    token: Annotated[str, typer.Argument(help="A join token, from `galaxy token join`")],
    name: Annotated[str, typer.Option(help="The device's name in the galaxy")],
    state: State = DEFAULT_STATE,
) -> None:
    """Join a galaxy: make this device's key and have it accepted. The key never leaves the device."""
    folder = state.expanduser()
    if not NAME.fullmatch(name):
        _fail(REFUSED, f"{name!r} is not a name: letters, digits and . _ ~ - only, at most 80")
    if not url.startswith(("http://", "https://")):
        _fail(REFUSED, f"{url!r} is not an http or https URL")
    try:
        join(folder, url.rstrip("/"), token, name)
    except (JoinRefused, NotJoined) as exc:
        _fail(REFUSED, str(exc))
    where = "" if state == DEFAULT_STATE else f" --state {state}"
    typer.echo(f"{name} has joined {url}. What it allows is in {folder / GUARD_FILE}. Next: galaxy-agent run{where}")


@app.command()
def run(
    kind: Annotated[Kind, typer.Option(help="What sort of machine this is")] = Kind.SERVER,
    label: Annotated[list[str] | None, typer.Option(help="key=value; repeatable")] = None,
    slots: Annotated[
        int | None, typer.Option(help="Attempts at once; default: processors", min=1, max=SLOTS_MAX)
    ] = None,
    brain: Annotated[
        str,
        typer.Option(help="The model that follows instructions: galaxy (the node's), off, or an OpenAI-compatible URL"),
    ] = GALAXYS_BRAIN,
    brain_model: Annotated[str, typer.Option(help="The model's name; a --brain URL needs one")] = "",
    state: State = DEFAULT_STATE,
    log_level: Annotated[LogLevel, typer.Option(help="How much it says")] = LogLevel.INFO,
) -> None:
    """Run until told to stop: dial out, take work, report. SIGTERM drains."""
    _log_to_stderr(log_level)
    labels = _labels(label or [])
    _check_brain(brain, brain_model)
    folder = state.expanduser()
    try:
        identity = Identity.load(folder)
        lock = locked(folder)
        guard = _guard(folder)
        shelf = Shelf(identity.membership.url, folder / "artifacts")
        model = _model(brain, brain_model, identity.membership.url, shelf)
        own = Own(kind, labels, slots, settings.load(folder))
        offered = offer(own, guard, model)
        agent = _agent(identity, guard, offered, shelf, own.settings)
    except (NotJoined, StateInUse, BadPolicy, settings.BadSettings, BadTools, OSError) as exc:
        _fail(REFUSED, str(exc))
    except OutboxFailed as exc:
        _fail(REFUSED, f"{exc}: make room, or move the file away; what this device ran last may then be run again")
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(beside(offered.tools.values(), guard, _serve(agent, folder, lock)))
    except SentAway as exc:
        _fail(SENT_AWAY, f"the galaxy sent this device away: {exc}")


@app.command()
def doctor(
    kind: Annotated[Kind, typer.Option(help="What sort of machine this is")] = Kind.SERVER,
    state: State = DEFAULT_STATE,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Look at each tool of this device: able or not, why, and how to change that. It need not have joined yet."""
    folder = state.expanduser()
    try:
        found = examined(tools_for(kind, settings.load(folder)), _guard(folder))
    except (BadPolicy, settings.BadSettings, BadTools, OSError) as exc:
        _fail(REFUSED, str(exc))
    if as_json:
        typer.echo(json.dumps([each._asdict() for each in found], indent=2))
        return
    table = Table("tool", "effect", "state", "why, and what to do")
    said = ""
    for each in found:
        row = each._replace(why="as above") if each.why and each.why == said else each
        table.add_row(*("".join(sign if sign.isprintable() else " " for sign in word) for word in row))
        said = each.why
    Console(markup=False, highlight=False).print(table)  # [edge] is a table of agent.toml here


@app.command("sleep")
def sleep_command(
    for_: Annotated[str, typer.Option("--for", help="How long, such as 90s, 30m, 8h or 2d")],
    reason: Annotated[str, typer.Option(help="Why, for people")] = "",
    state: State = DEFAULT_STATE,
) -> None:
    """Let the running agent say that this device sleeps, and stay away for so long. What runs goes on."""
    try:
        wish = Wish(seconds(for_), reason)
    except ValueError as exc:
        _fail(REFUSED, f"--for {exc}")
    _ask(state, wish)


@app.command("wake")
def wake_command(state: State = DEFAULT_STATE) -> None:
    """Let the agent that was sent to sleep come back now."""
    _ask(state, Wish())


def _ask(state: Path, wish: Wish) -> None:
    try:
        pid = asked(state.expanduser(), wish)
    except (NoAgent, OSError) as exc:
        _fail(REFUSED, str(exc))
    typer.echo(f"asked the agent with process id {pid}; its log says what it does")


def _check_brain(brain: str, name: str) -> None:
    if brain in (NO_BRAIN, GALAXYS_BRAIN):
        return
    if not brain.startswith(("http://", "https://")):
        _fail(REFUSED, f"--brain {brain}: write galaxy, off, or an http or https URL such as http://127.0.0.1:8080/v1")
    if not name:
        _fail(REFUSED, "--brain with a URL needs --brain-model NAME, as the endpoint calls the model")


def _model(brain: str, name: str, url: str, shelf: Shelf) -> Model | None:
    """Return the model that follows instructions here, if there is to be one."""
    if brain == NO_BRAIN:
        return None
    if brain == GALAXYS_BRAIN:  # its key is the session's token, which changes with the session
        return Model(Endpoint(url + GALAXY_PATH, name or "default", lambda: shelf.token, galaxy=True))
    key = os.environ.get(BRAIN_KEY, "")
    return Model(Endpoint(brain, name, lambda: key))


def _agent(identity: Identity, guard: Guard, offered: Offer, shelf: Shelf, own: settings.Settings) -> Agent:
    folder = identity.folder
    rmtree(folder / "scratch", ignore_errors=True)  # what a killed agent left
    now, seen = _clock(), partial(vitals_of, offered.profile.kind, own)
    return Agent(
        Parts(
            identity=identity,
            profile=offered.profile,
            bench=Bench(offered.tools, guard, folder / "scratch", shelf),
            shelf=shelf,
            outbox=Outbox(folder / "outbox.db", now=now()),
            reconnect=Reconnect(random.Random()),
            now=now,
            vitals=reader(folder / "work", lambda: shelf.rate, own.vitals, seen),
        )
    )


async def _serve(agent: Agent, folder: Path, lock: int) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        if sys.platform == "win32":
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(agent.stop))
        else:
            loop.add_signal_handler(number, agent.stop)
    if sys.platform != "win32":
        loop.add_signal_handler(signal.SIGUSR1, _heed, agent, folder)
        listen(lock, listening=True)
    try:
        await agent.run()
    finally:
        if sys.platform != "win32":
            listen(lock, listening=False)


def _heed(agent: Agent, folder: Path) -> None:
    wish = taken(folder)
    if wish and wish.sleep_s > 0.0:
        agent.rest(wish.sleep_s, wish.reason)
    elif wish:
        agent.wake()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return how to make a loop; uvloop's is quicker, where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _clock() -> Callable[[], float]:
    """Return a clock that goes on while the machine sleeps, for leases run out meanwhile, and never follows the wall's.

    It begins with the wall's time, so that the journal's entries age across starts.
    """
    if sys.platform == "linux":
        ticks: Callable[[], float] = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    elif sys.platform == "darwin":
        ticks = partial(time.clock_gettime, time.CLOCK_MONOTONIC)  # where time.monotonic stands still in sleep
    else:
        ticks = time.monotonic
    wall = time.time() - ticks()
    return lambda: wall + ticks()


def _guard(folder: Path) -> Guard:
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    policy = folder / GUARD_FILE
    return Guard.load(policy, work) if policy.exists() else Guard.default(work)


def _labels(words: list[str]) -> dict[str, str]:
    labels = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (equals and NAME.fullmatch(key)):
            _fail(REFUSED, f"--label {word}: write it as key=value; a key has letters, digits and . _ ~ - only")
        labels[key] = value
    return labels


def _log_to_stderr(level: LogLevel) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                visible_values,
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=visible_traceback),
            ],
        )
    )
    handler.addFilter(_tells_no_secret)
    logging.basicConfig(handlers=[handler], level=level.upper())
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def _tells_no_secret(record: logging.LogRecord) -> bool:
    """Return whether the line may be shown. A library may set its own level, so that this is not left to levels."""
    return record.levelno > logging.DEBUG or record.name.partition(".")[0] not in TELLTALES


def _fail(code: int, message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(code)


def main() -> None:
    """Run the command."""
    app()


if __name__ == "__main__":
    main()
