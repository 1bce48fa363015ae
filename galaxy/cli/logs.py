"""Log lines on stderr: one constant message each, with its facts behind it."""

import logging
import sys

import structlog

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
                structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
                ),
            ],
        )
    )
    handler.addFilter(tells_no_secret)
    logging.basicConfig(handlers=[handler], level=level.upper())
    for library in ("httpx2", "alembic", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)


def tells_no_secret(record: logging.LogRecord) -> bool:
    """Return whether the line may be shown. A library may set its own level, so that this is not left to levels."""
    return record.levelno > logging.DEBUG or record.name.partition(".")[0] not in TELLTALES
