"""What a tool wants of the machine and may not find: a library of an extra, a program of the system."""

import shutil
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from ..errors import ToolFailed

MISSING = "not_installed"


def library(name: str, extra: str) -> ModuleType:
    """Return the module; raise ToolFailed `not_installed` that names the extra which brings it.

    Imported where it is used, so that an agent starts quickly and without what it does not need.
    """
    try:
        return import_module(name)
    except ImportError as exc:
        raise ToolFailed(MISSING, f"{exc}: `pip install 'galaxy[{extra}]'` brings it") from exc


def program(name: str, package: str) -> str:
    """Return the program's path; raise ToolFailed `not_installed` that names the system's package with it."""
    found = shutil.which(name)
    if found is None:
        raise ToolFailed(MISSING, f"the program {name} is not on the PATH: install the system's package {package}")
    return found


def found(name: str, extra: str) -> None:
    """Raise as `library` does, without importing it: some take seconds."""
    if find_spec(name) is None:
        raise ToolFailed(MISSING, f"there is no module {name}: `pip install 'galaxy[{extra}]'` brings it")
