"""How commands end: exit codes that programs can tell apart, and a last word for people."""

from typing import NoReturn

import typer

from .plain import plain

CONSTELLATION_FAILED = 1
UNSOUND = 1
# 2 is typer's own: wrong usage
REFUSED = 3
UNREACHABLE = 4
INTERRUPTED = 130


def fail(code: int, message: str) -> NoReturn:
    """End the command with a message on stderr."""
    typer.echo(plain(message), err=True)
    raise typer.Exit(code)
