"""Artifacts in a call's arguments: what a reference stands for is fetched before the tool runs."""

from pathlib import Path
from typing import Any

import msgspec

from protocol.pointer import PointerError, pointed
from protocol.vocabulary import ARTIFACT

from .errors import ToolFailed
from .tools.base import ArtifactRef, ArtifactShelf

TEXT_BYTES_MAX = 16 << 20  # of an artifact where a tool takes a value; larger ones are for tools that take files
TEXTS_BYTES_MAX = 64 << 20  # of all of them in one call


async def with_artifacts(document: Any, arguments: type[msgspec.Struct], shelf: ArtifactShelf) -> Any:
    """Return the arguments with each reference replaced by what it stands for; raise ToolFailed.

    An argument that the tool declares as an artifact stays a reference: the tool fetches the file itself. Elsewhere a
    JSON artifact becomes its value (or what the reference's `pointer` names in it), any other its text.
    """
    if not isinstance(document, dict):
        return document
    takes_files = {field.encode_name for field in msgspec.structs.fields(arguments) if "ArtifactRef" in str(field.type)}
    room = Room()
    return {
        key: value if key in takes_files and "pointer" not in _reference(value) else await _replaced(value, shelf, room)
        for key, value in document.items()
    }


def _reference(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) and ARTIFACT in value else {}


class Room:
    """How much the references of one call may still stand for: a short list can name a large text many times."""

    def __init__(self) -> None:
        self._left = TEXTS_BYTES_MAX

    def take(self, count: int) -> None:
        """Raise ToolFailed when there is not so much left."""
        self._left -= count
        if self._left < 0:
            raise ToolFailed("too_large", f"artifacts of more than {TEXTS_BYTES_MAX} bytes as arguments of one call")


async def _replaced(value: Any, shelf: ArtifactShelf, room: Room) -> Any:
    if reference := _reference(value):
        return await _content(reference, shelf, room)
    if isinstance(value, dict):
        return {key: await _replaced(item, shelf, room) for key, item in value.items()}
    if isinstance(value, list):
        return [await _replaced(item, shelf, room) for item in value]
    return value


async def _content(reference: dict[str, Any], shelf: ArtifactShelf, room: Room) -> Any:
    pointer = msgspec.convert(reference.get("pointer", ""), str)
    ref = msgspec.convert(reference, ArtifactRef)
    if ref.bytes > TEXT_BYTES_MAX:
        raise ToolFailed("too_large", f"an artifact of {ref.bytes} bytes as an argument, at most {TEXT_BYTES_MAX}")
    room.take(ref.bytes)
    content = _read(await shelf.fetch(ref))
    if ref.media_type == "application/json":
        try:
            return pointed(msgspec.json.decode(content), pointer)
        except PointerError as exc:
            raise ToolFailed("binding_unresolved", f"in artifact {ref.sha256[:12]}, {exc}") from exc
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise ToolFailed("decode_error", f"artifact {ref.sha256[:12]} is not text, and not JSON") from exc


def _read(path: Path) -> bytes:
    return path.read_bytes()
