"""Tables for people. Where stdout is no terminal, the same as plain lines."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .plain import plain
from .progress import MARKS, TERMINAL, StarLine, Watched

LIVE_ROWS_MAX = 40
RESULT_CHARS_MAX = 60
REDRAWS_A_SECOND = 8
PIPED_CHARS_MAX = 1_000  # of a line that no terminal folds: programs read it


class PlainConsole(Console):
    """A console that takes no text for markup, and lets no text command the terminal."""

    def render_str(self, text: str, **more: Any) -> Text:
        return super().render_str(plain(text), **more)


def console(*, stderr: bool = False) -> Console:
    """Return where commands write: what they were asked for, or beside it what is only for who waits."""
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else PIPED_CHARS_MAX
    return PlainConsole(highlight=False, markup=False, emoji=False, soft_wrap=False, width=width, stderr=stderr)


@contextmanager
def waiting(out: Console, text: str) -> Iterator[None]:
    """Show a person what is waited for, and for how long already; a program that reads is told nothing."""
    if not out.is_terminal:
        yield
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        progress.add_task(plain(text), total=None)
        yield


@contextmanager
def live(out: Console, watched: Watched) -> Iterator[Any]:
    """Lend a function to call after each event: it redraws a table, or prints the line it is given."""
    if not out.is_terminal:
        yield lambda line: out.print(line, soft_wrap=True) if line else None
        return
    with Live(progress_table(watched), console=out, refresh_per_second=REDRAWS_A_SECOND, transient=True) as display:
        yield lambda _: display.update(progress_table(watched))


def progress_table(watched: Watched) -> Table:
    """Return the stars with their states; of a large constellation, those that have something to tell."""
    title = f"{watched.name or watched.id}: {watched.state}"
    table = Table(title=title, title_justify="left", box=None, expand=True)
    for heading in ("", "star", "state", "device", "tries", "ran"):
        table.add_column(heading, overflow="ellipsis", no_wrap=True)
    table.add_column("", overflow="ellipsis", no_wrap=True, ratio=1)  # what is long has what the others leave
    for line in _most_telling(list(watched.stars.values())):
        table.add_row(*_cells(line), Text(plain(line.remark), style="dim"))
    if len(watched.stars) > LIVE_ROWS_MAX:
        done = sum(line.state in TERMINAL for line in watched.stars.values())
        table.caption = f"{done} of {len(watched.stars)} have ended"
    return table


def summary_table(picture: dict[str, Any]) -> Table:
    """Return each star with its device, attempts, duration and result."""
    table = Table(title=f"{picture['name'] or picture['id']}: {picture['state']}", title_justify="left")
    for heading in ("", "star", "state", "device", "tries", "ran", "result, or why not"):
        table.add_column(heading, overflow="fold")
    watched = Watched(picture["id"])
    watched.look(picture)
    for star in picture["stars"]:
        line = watched.stars[star["id"]]
        said = _short(star["result"]) if line.state == "succeeded" else line.remark
        table.add_row(*_cells(line), Text(plain(said)))
    return table


def listing(headings: Iterable[str], rows: Iterable[Iterable[Any]]) -> Table:
    """Return a plain table."""
    table = Table(box=None)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    return table


def clock(at: float | None) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def _cells(line: StarLine) -> tuple[Text, str, Text, str, str, str]:
    mark, style = MARKS[line.state]
    ran = f"{line.ran_s:.2f} s" if line.attempts else ""
    return (
        Text(mark, style=style),
        line.id,
        Text(line.state, style=style),
        line.device,
        str(line.attempts or ""),
        ran,
    )


def _most_telling(lines: list[StarLine]) -> list[StarLine]:
    if len(lines) <= LIVE_ROWS_MAX:
        return lines
    order = ("failed", "running", "leased", "ready")
    telling = [line for state in order for line in lines if line.state == state]
    return telling[:LIVE_ROWS_MAX]


def _short(result: Any) -> str:
    if isinstance(result, dict) and isinstance(result.get("stdout"), str) and result["stdout"].strip():
        text = str(result["stdout"]).strip().splitlines()[-1]
    else:
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
    return text if len(text) <= RESULT_CHARS_MAX else text[: RESULT_CHARS_MAX - 1] + "…"
