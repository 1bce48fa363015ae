"""Where the clerk is given a request, and what it may take to fulfil it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import documents, pages, sheets, slides
from .packages import Refused

_TASKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "sheet_read": sheets.read,
    "sheet_write": sheets.write,
    "document_read": documents.read,
    "document_write": documents.write,
    "slides_read": slides.read,
    "slides_write": slides.write,
    "pdf_read": pages.read,
}


def main(path: str) -> None:
    """Do what the request says. What the libraries raise ends the process, and its last line says why."""
    request = json.loads(Path(path).read_bytes())
    _bind(request["limits"])
    sys.modules["numpy"] = None  # type: ignore[assignment]  # nothing here needs it, and it takes time and memory
    try:
        answer: dict[str, Any] = {"done": _TASKS[request["task"]](request)}
    except Refused as exc:
        answer = {"refused": [exc.code, exc.message]}
    Path(request["answer"]).write_text(json.dumps(answer, ensure_ascii=False), "utf-8")


def _bind(limits: dict[str, int]) -> None:
    import resource  # no system without it can run the agent's programs

    bounds = [(resource.RLIMIT_CPU, limits["cpu_s"]), (resource.RLIMIT_FSIZE, limits["file_bytes"])]
    bounds += [(resource.RLIMIT_CORE, 0)]
    if sys.platform == "linux":
        bounds.append((resource.RLIMIT_AS, limits["memory_bytes"]))
    for bound, most in bounds:
        resource.setrlimit(bound, (most, most))
