"""Looks: what to ask a device on which a star has failed, and what the answer says of trying again."""

import re
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from protocol.vocabulary import Failure

from ..core.binding import BindingError, resolved
from ..core.star import Line, Needs, OnFailure, OnSuccess, Retry, Star, Timeouts, When
from .contract import StarView, View

LOOK_WITHIN_S = 30.0

# Codes of `device_agents`, by what they are about.
OF_A_PATH = frozenset({"not_found", "not_a_folder", "not_a_file", "not_permitted", "denied"})
OF_A_CONNECTION = frozenset({"connect_failed", "host_not_found", "timeout", "broken_answer"})
OF_THE_MACHINE = frozenset({"disk_full", "io_failed", "timeout", "overran", "killed", "device_lost", "stopped"})
OF_THE_CALL = frozenset({"bad_arguments", "bad_url", "bad_pattern", "http_status", "exit_nonzero", "queue_timeout"})
# With these the effect has certainly not begun, whatever the class of the call.
NOT_BEGUN = frozenset({"denied", "program_not_found", "not_executable", "connect_failed", "host_not_found"})

HTTP = "http.request"
MAKES_ITS_PATH = frozenset({"file.write"})  # for these a path that is not there is no obstacle, but its folder is
PORTS = {"http": 80, "https": 443}


def is_look_at(line: Line, star_id: str) -> bool:
    """Whether this line into the star comes from a look at it."""
    stem, _, _ = line.source.rpartition("-look")
    named = re.fullmatch(r".+-look[0-9]*", line.source) is not None
    return named and line.target == star_id and line.when is When.ALWAYS and star_id.startswith(stem)


def explains(star: Star, failure: Failure) -> bool:
    """Whether a look could tell why: not where the call itself is wrong, or said no for reasons of its own."""
    if failure.code in OF_A_PATH or failure.code in OF_THE_MACHINE:
        return True
    if star.tool == HTTP and failure.code in OF_A_CONNECTION:
        return True
    return failure.retryable and failure.code not in OF_THE_CALL


def look_at(view: View, seen: StarView, failure: Failure, device: str) -> Star | None:
    """Return the look, yet without a name; None if what it would look at is not known."""
    arguments = _arguments(view, seen.star)
    asked: dict[str, str | int] = {}
    if failure.code in OF_A_PATH and seen.star.tool != HTTP:
        path = arguments.get("path", arguments.get("cwd") if failure.code != "denied" else None)
        if not isinstance(path, str) or not path:
            return None
        tool, asked["path"] = "file.stat", path
        if failure.code == "not_found":
            asked["path"] = str(PurePosixPath(path).parent)
    elif seen.star.tool == HTTP and failure.code in OF_A_CONNECTION:
        origin = _origin(arguments.get("url"))
        if origin is None:
            return None
        tool, asked["host"], asked["port"] = "net.port", *origin
    elif failure.code in OF_A_PATH:
        return None
    else:
        tool = "system.info"
    return Star(
        "",
        tool,
        Raw(msgspec.json.encode(asked)),
        title=f"look why {seen.star.id} failed"[:500],
        needs=Needs(device=device),
        retry=Retry(attempts=1),
        timeouts=Timeouts(queue_s=LOOK_WITHIN_S, run_s=LOOK_WITHIN_S),
        on_failure=OnFailure.FAIL,
        on_success=OnSuccess.CONSULT,
    )


def is_hopeless(look: StarView, star: Star, failure: Failure) -> bool:
    """Whether what was found says that the star would fail again in the same way."""
    try:
        found = msgspec.json.decode(look.result or Raw(b"null"))
    except (msgspec.DecodeError, RecursionError):
        return False
    match look.star.tool, found:
        case "net.port", {"open": False}:
            return True
        case "file.stat", {"kind": kind}:
            # Where something was not found, its folder was looked at. It is there: then what is in it is missing.
            missing = failure.code == "not_found" and kind == "folder" and star.tool not in MAKES_ITS_PATH
            is_file = failure.code == "not_a_folder" and kind == "file"
            is_folder = failure.code == "not_a_file" and kind == "folder"
            return missing or is_file or is_folder or failure.code == "denied"
    return False


def _arguments(view: View, star: Star) -> dict[str, Any]:
    """Return the arguments as the device was given them, as far as they can be had."""

    def result_of(source: str) -> Raw | None:
        return view.stars[source].result if source in view.stars else None

    try:
        arguments = msgspec.json.decode(resolved(star.arguments, result_of))
    except BindingError:
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _origin(url: object) -> tuple[str, int] | None:
    """Return host and port of an address; None if it has none."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname else None
