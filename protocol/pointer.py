"""JSON pointers (RFC 6901): both ends follow them, Galaxy into results, devices into artifacts."""

from typing import Any


class PointerError(ValueError):
    """A pointer that is badly written or leads nowhere."""


def tokens(pointer: str) -> list[str]:
    """Return the pointer's reference tokens; raise PointerError if it is badly written."""
    if pointer and not pointer.startswith("/"):
        raise PointerError(f"{pointer!r} is not a JSON pointer: it must be empty or begin with /")
    for escape in pointer.split("~")[1:]:
        if escape[:1] not in ("0", "1"):
            raise PointerError(f"{pointer!r} is not a JSON pointer: ~ stands only before 0 or 1")
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def pointed(document: Any, pointer: str) -> Any:
    """Return what the pointer names in a JSON document; raise PointerError."""
    value = document
    for token in tokens(pointer):
        match value:
            case dict() if token in value:
                value = value[token]
            case list() if token.isdecimal() and (token == "0" or token[0] != "0") and int(token) < len(value):
                value = value[int(token)]
            case _:
                raise PointerError(f"{pointer!r} leads nowhere: there is no {token!r}")
    return value
