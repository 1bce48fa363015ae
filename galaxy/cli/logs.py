"""Log lines on stderr: one constant message each, with its facts behind it."""

import io
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from .plain import plain

# Their debug lines hold headers, and with these keys; or frames, and with these the tokens of sessions.
TELLTALES = frozenset({"httpx2", "httpcore2", "openai", "websockets", "uvicorn"})


def log_to_stderr(level: str) -> None:
    """Send the program's log to stderr."""
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
                _plain_values,
                structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_plain_traceback),
            ],
        )
    )
    handler.addFilter(tells_no_secret)
    logging.basicConfig(handlers=[handler], level=level.upper())
    for library in ("httpx2", "alembic", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)


def _plain_values(logger: object, method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return what is logged with each text plain: reasons and names may be the words of strangers."""
    return {name: plain(value) if isinstance(value, str) else value for name, value in line.items()}


def _plain_traceback(target: TextIO, exc_info: Any) -> None:
    written = io.StringIO()
    structlog.dev.plain_traceback(written, exc_info)
    target.write(plain(written.getvalue()))


def tells_no_secret(record: logging.LogRecord) -> bool:
    """Return whether the line may be shown. A library may set its own level, so that this is not left to levels."""
    return record.levelno > logging.DEBUG or record.name.partition(".")[0] not in TELLTALES
