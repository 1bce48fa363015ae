"""Log lines on stderr: one constant message each, with its facts behind it."""

import logging
import sys

import structlog


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
    logging.basicConfig(handlers=[handler], level=level.upper())
    for library in ("httpx2", "alembic", "uvicorn"):
        logging.getLogger(library).setLevel(logging.WARNING)
