"""`galaxy serve`: run a node."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ..node import Settings, Unfit, serve
from ..store.errors import StoreError
from .exits import REFUSED, fail
from .logs import log_to_stderr

HELP_TOKEN = "Keep it: it is not shown again. Commands read it from GALAXY_TOKEN."


def serve_command(
    data: Annotated[Path | None, typer.Option(help="The node's folder: database and artifacts")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one")] = None,
    database: Annotated[str | None, typer.Option(help="postgresql+asyncpg://user@host/name instead of SQLite")] = None,
    durability: Annotated[
        str | None, typer.Option(help="power: survives a power cut; process: survives a killed process, and is faster")
    ] = None,
    insecure_listen: Annotated[bool, typer.Option(help="Allow listening beyond loopback without TLS")] = False,
    allow_host: Annotated[list[str] | None, typer.Option(help="A name this node goes by; repeatable")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM file")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file")] = None,
    heartbeat_s: Annotated[float | None, typer.Option(help="How often devices show that they live")] = None,
    keep_ended_days: Annotated[float | None, typer.Option(help="Forget constellations so long after their end")] = None,
    keep_artifacts_days: Annotated[float | None, typer.Option(help="Keep artifacts that nobody names")] = None,
    keep_uploads_days: Annotated[float | None, typer.Option(help="Keep half uploads")] = None,
    keep_answers_days: Annotated[float | None, typer.Option(help="Keep idempotency keys")] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error")] = "info",
) -> None:
    """Run a node: the API, the devices' door, and the database, in one process."""
    given = {name: value for name, value in locals().items() if name in Settings.model_fields}
    given |= {"insecure_listen": insecure_listen or None, "allow_host": allow_host or None}
    log_to_stderr(log_level)
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, _announce))
    except (Unfit, StoreError, ValueError) as exc:
        fail(REFUSED, str(exc))
    except OSError as exc:
        fail(REFUSED, f"cannot serve: {exc}. Is another node on this port? --port 0 takes a free one.")
    except BaseExceptionGroup as group:
        if (stopped := group.subgroup(StoreError)) is None:
            raise
        fail(REFUSED, f"the node had to stop: {_first(stopped)}")


def _first(group: BaseExceptionGroup[StoreError]) -> StoreError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _announce(url: str, new_token: str) -> None:
    typer.echo(f"galaxy is at {url}")
    if new_token:
        typer.echo(f"API token: {new_token}\n{HELP_TOKEN}")
    sys.stdout.flush()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
