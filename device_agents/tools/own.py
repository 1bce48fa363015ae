"""Tools that a device's owner has written: Python files that `agent.toml` names, each with a function `tools`."""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from .base import Tool


class BadTools(ValueError):
    """A file of tools that cannot be used, and why. The agent does not start with one."""


def own_tools(files: Iterable[Path]) -> tuple[Tool, ...]:
    """Return what the files offer, in their order; raise BadTools. Their code runs as the agent does."""
    return tuple(tool for file in files for tool in _offered(file))


def _offered(file: Path) -> tuple[Tool, ...]:
    name = f"galaxy_own_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise BadTools(f"{file} is no Python file that can be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where msgspec looks for the types that its structs name
    try:
        spec.loader.exec_module(module)
        offered = tuple(module.tools())
    except (ImportError, SyntaxError, AttributeError, TypeError, NameError, ValueError) as exc:
        raise BadTools(f"{file}: {type(exc).__name__}: {exc}") from exc
    for tool in offered:
        lacking = [
            word for word in ("name", "effect", "limits", "Arguments", "Result", "run") if not hasattr(tool, word)
        ]
        if lacking or not (type(tool).__doc__ or "").strip():
            raise BadTools(
                f"{file}: {type(tool).__name__} has no {', '.join(lacking) or 'docstring that says what it does'}"
            )
    return offered
