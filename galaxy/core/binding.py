"""Bindings: arguments that are taken from other stars' results."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from protocol.pointer import PointerError, pointed, tokens
from protocol.vocabulary import ARTIFACT, FRAME_BYTES_MAX

from .star import Binding

FROM = "$from"
TEXT = "$text"  # {"$text": [parts]}: one text of texts and bindings, each other value as JSON
DEPTH_MAX = 64
ARGUMENTS_BYTES_MAX = FRAME_BYTES_MAX // 2  # what is larger could not be sent to a device


class BindingError(Exception):
    """A binding that is badly written or leads nowhere; `place` is a JSON pointer into the arguments."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


def bindings_in(arguments: Any) -> tuple[Binding, ...]:
    """Return the bindings in a JSON value, in order; raise BindingError naming the place of a bad one."""
    return tuple(_found(arguments, "", 0))


def resolved(arguments: Raw, result_of: Callable[[str], Raw | None]) -> Raw:
    """Return the arguments with each binding replaced by what it names.

    A pointer into a result that travels as an artifact goes along with its reference; the device follows it.
    Raise BindingError if a binding leads nowhere, or to something unreadable, or the whole becomes too large.
    """
    documents: dict[str, Any] = {}

    def document_of(source: str) -> Any:
        if source not in documents:
            result = result_of(source)
            if result is None:
                raise BindingError(f"{source} has no result")
            try:
                documents[source] = msgspec.json.decode(result)
            except (ValueError, RecursionError) as exc:
                raise BindingError(f"the result of {source} is not readable: {exc}") from None
        return documents[source]

    encoded = msgspec.json.encode(_replaced(msgspec.json.decode(arguments), document_of))
    if len(encoded) > ARGUMENTS_BYTES_MAX:
        raise BindingError(f"the arguments are {len(encoded)} bytes, at most {ARGUMENTS_BYTES_MAX}")
    return Raw(encoded)


def renamed(arguments: Raw, names: dict[str, str]) -> Raw:
    """Return the arguments with the sources of its bindings renamed."""

    def walk(value: Any) -> Any:
        match value:
            case {"$from": str(source), **rest}:
                return {FROM: names.get(source, source), **rest}
            case dict():
                return {key: walk(item) for key, item in value.items()}
            case list():
                return [walk(item) for item in value]
        return value

    return Raw(msgspec.json.encode(walk(msgspec.json.decode(arguments))))


def _found(value: Any, place: str, depth: int) -> Iterator[Binding]:
    if depth > DEPTH_MAX:
        raise BindingError(f"deeper than {DEPTH_MAX} levels", place)
    match value:
        case {"$from": source, **rest}:
            pointer = rest.pop("pointer", "")
            if not isinstance(source, str) or not isinstance(pointer, str) or rest:
                raise BindingError('a binding is {"$from": star, "pointer": pointer} and nothing else', place)
            try:
                tokens(pointer)
            except PointerError as exc:
                raise BindingError(str(exc), f"{place}/pointer") from None
            yield Binding(source, pointer)
        case dict():
            for key, item in value.items():
                yield from _found(item, f"{place}/{key.replace('~', '~0').replace('/', '~1')}", depth + 1)
        case list():
            for index, item in enumerate(value):
                yield from _found(item, f"{place}/{index}", depth + 1)


def _replaced(value: Any, document_of: Callable[[str], Any]) -> Any:
    match value:
        case {"$from": str(source), **rest}:
            document, pointer = document_of(source), str(rest.get("pointer", ""))
            if isinstance(document, dict) and ARTIFACT in document and pointer:
                return {**document, "pointer": pointer}
            try:
                return pointed(document, pointer)
            except PointerError as exc:
                raise BindingError(f"in the result of {source}, {exc}") from None
        case {"$text": list(parts)} if len(value) == 1:
            return "".join(_as_text(_replaced(part, document_of)) for part in parts)
        case dict():
            return {key: _replaced(item, document_of) for key, item in value.items()}
        case list():
            return [_replaced(item, document_of) for item in value]
    return value


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
