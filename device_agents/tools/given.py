"""Bytes that a call names: a file that its owner has opened, or an artifact of Galaxy."""

from typing import Annotated

from msgspec import Meta, Struct

from ..errors import ToolFailed
from .base import ArtifactRef, Context
from .beneath import regular_file, told
from .blocking import Stop, unblocked
from .files import PathText

_PIECE_BYTES = 1 << 20


class Given(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of the device, or an artifact; one of the two."""

    path: PathText | None = None
    artifact: Annotated[ArtifactRef, Meta(description="Instead of a path.")] | None = None


async def content(given: Given, context: Context, *, bytes_max: int | None = None) -> bytes:
    """Return all of it; raise ToolFailed bad_arguments, denied, not_found, too_large and the like."""
    most = min(bytes_max or context.guard.limits.file_bytes, context.guard.limits.file_bytes)
    if (given.path is None) == (given.artifact is None):
        raise ToolFailed("bad_arguments", "say one of `path` and `artifact`")
    if given.artifact is not None:
        if given.artifact.bytes > most:
            raise _too_large(given.artifact.sha256, most)
        fetched = await context.shelf.fetch(given.artifact)
        return await unblocked(lambda _: fetched.read_bytes())
    place = context.guard.readable(given.path or "")

    def read(stop: Stop) -> bytes:
        found = bytearray()
        with told(place.path), regular_file(place) as file:
            while piece := file.read(_PIECE_BYTES):
                stop.check()
                found += piece
                if len(found) > most:
                    raise _too_large(str(place.path), most)
        return bytes(found)

    return await unblocked(read)


def _too_large(name: str, most: int) -> ToolFailed:
    return ToolFailed("too_large", f"{name} has more than {most} bytes")
