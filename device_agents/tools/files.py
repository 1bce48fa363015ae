"""The tools that read, write, look at and delete single files; folders are in `folders`."""

import base64
import binascii
import os
import shutil
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Literal

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ..errors import ToolFailed
from ..guard import Guard, Place
from .base import ArtifactRef, Context
from .beneath import EntryKind, kind_of, parent, regular_file, shown, status, told
from .blocking import Stop, unblocked
from .spool import INLINE_BASE64_MAX, INLINE_BYTES_MAX, fits

CONTENT_CHARS_MAX = 768 << 10  # of one call's content; it has to fit into a frame
_PIECE_BYTES = 1 << 20
_MODE = 0o644
_LONGEST_CHARACTER = 4  # bytes of UTF-8

PathText = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4_000,
        pattern="^[^\\x00]*$",
        description="Relative to the work folder, or absolute within the folders that the device's owner opened.",
    ),
]
Encoding = Annotated[Literal["utf-8", "base64"], Meta(description="How bytes are text: as UTF-8, or as base64.")]


class ReadArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which bytes of which file."""

    path: PathText
    offset: Annotated[int, Meta(ge=0, description="The first byte.")] = 0
    limit: Annotated[int, Meta(ge=1, description="How many bytes at most; all by default.")] | None = None
    encoding: Encoding = "utf-8"


class ReadResult(Struct, frozen=True, omit_defaults=True):
    """What was read: as `content`, or, where that is too much for a result, as `artifact`."""

    path: str
    size: Annotated[int, Meta(description="Of the whole file.")]
    bytes: Annotated[int, Meta(description="How many were read.")]
    content: str | None = None
    artifact: ArtifactRef | None = None


class FileRead:
    """Read a file, whole or in part, as text or as base64; large ones come as an artifact."""

    name: ClassVar[str] = "file.read"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"inline_bytes": INLINE_BYTES_MAX}
    Arguments: ClassVar[type[Struct]] = ReadArguments
    Result: ClassVar[type[Struct]] = ReadResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders())

    async def run(self, arguments: ReadArguments, context: Context) -> ReadResult:
        copy = context.scratch / "read"
        result = await unblocked(lambda stop: _read(arguments, context.guard, copy, stop))
        if result.content is not None:
            return result
        media_type = "text/plain" if arguments.encoding == "utf-8" else "application/octet-stream"
        artifact = await context.shelf.put(copy, media_type)
        return ReadResult(result.path, result.size, result.bytes, artifact=artifact)


def _read(arguments: ReadArguments, guard: Guard, copy: Path, stop: Stop) -> ReadResult:
    """Return the result, without content when the bytes went to `copy`."""
    place = guard.readable(arguments.path)
    with told(place.path), regular_file(place) as file:
        size = os.fstat(file.fileno()).st_size
        limit = arguments.limit
        file.seek(arguments.offset)
        inline_max = INLINE_BYTES_MAX if arguments.encoding == "utf-8" else INLINE_BASE64_MAX
        piece = file.read(inline_max + 1 if limit is None else min(limit, inline_max + 1))
        if len(piece) <= inline_max:
            length, content = _as_text(piece, arguments.encoding, cut=limit is not None and len(piece) == limit)
            if fits(content):
                return ReadResult(shown(place.path), size, length, content)
        file.seek(arguments.offset)
        return ReadResult(shown(place.path), size, _copied(file, copy, limit, guard.limits.file_bytes, stop))


def _as_text(piece: bytes, encoding: str, *, cut: bool) -> tuple[int, str]:
    """Return how many bytes the text stands for, and the text. A character that the limit cuts is left out."""
    if encoding == "base64":
        return len(piece), base64.b64encode(piece).decode()
    try:
        return len(piece), piece.decode()
    except UnicodeDecodeError as exc:
        is_cut = cut and exc.start > 0 and len(piece) - exc.start < _LONGEST_CHARACTER and exc.end == len(piece)
        if is_cut:
            return exc.start, piece[: exc.start].decode()
        raise ToolFailed("decode_error", f"not UTF-8 at byte {exc.start}; ask for base64") from exc


def _copied(file: BinaryIO, copy: Path, limit: int | None, bytes_max: int, stop: Stop) -> int:
    """Return how many bytes were copied."""
    copied = 0
    copy.parent.mkdir(parents=True, exist_ok=True)
    with copy.open("wb") as target:
        while piece := file.read(_PIECE_BYTES if limit is None else min(_PIECE_BYTES, limit - copied)):
            stop.check()
            copied += len(piece)
            if copied > bytes_max:
                raise ToolFailed("too_large", f"more than {bytes_max} bytes, which is limits.file_bytes in guard.toml")
            target.write(piece)
    return copied


class WriteArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is written where. Exactly one of `content` and `artifact`."""

    path: PathText
    content: Annotated[str, Meta(max_length=CONTENT_CHARS_MAX)] | None = None
    encoding: Encoding = "utf-8"
    artifact: Annotated[ArtifactRef, Meta(description="Bytes that Galaxy keeps, in place of `content`.")] | None = None
    overwrite: Annotated[bool, Meta(description="Whether a file with other content may be replaced.")] = True
    parents: Annotated[bool, Meta(description="Whether to make the folders that are missing.")] = False
    mode: (
        Annotated[int, Meta(ge=0, le=0o777, description="Permissions; by default those there, or rw-r--r--.")] | None
    ) = None


class WriteResult(Struct, frozen=True):
    """What stands there now."""

    path: str
    bytes: int


class FileWrite:
    """Write a file, whole or not at all: who reads it meanwhile sees the old content or the new."""

    name: ClassVar[str] = "file.write"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    limits: ClassVar[dict[str, int | float]] = {"content_chars": CONTENT_CHARS_MAX}
    Arguments: ClassVar[type[Struct]] = WriteArguments
    Result: ClassVar[type[Struct]] = WriteResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders(write=True))

    async def run(self, arguments: WriteArguments, context: Context) -> WriteResult:
        if (arguments.content is None) == (arguments.artifact is None):
            raise ToolFailed("bad_arguments", "give either content or artifact")
        place = context.guard.writable(arguments.path)
        source = await self._source(arguments, context)
        return await unblocked(lambda stop: _write(arguments, place, source, stop))

    async def _source(self, arguments: WriteArguments, context: Context) -> Path:
        """Return a file of the agent's own with the bytes to write."""
        if arguments.artifact is None:
            return await unblocked(lambda _: _drafted(arguments, context.scratch))
        bytes_max = context.guard.limits.file_bytes
        if arguments.artifact.bytes > bytes_max:
            raise ToolFailed("too_large", f"more than {bytes_max} bytes, which is limits.file_bytes in guard.toml")
        return await context.shelf.fetch(arguments.artifact)


def _drafted(arguments: WriteArguments, scratch: Path) -> Path:
    draft = scratch / "write"
    content = _content_of(arguments)
    with told("the content"):
        scratch.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(content)
    return draft


def _content_of(arguments: WriteArguments) -> bytes:
    content = arguments.content or ""
    if arguments.encoding == "utf-8":
        return content.encode()
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as exc:
        raise ToolFailed("decode_error", f"the content is not base64: {exc}") from exc


def _write(arguments: WriteArguments, place: Place, source: Path, stop: Stop) -> WriteResult:
    with told(place.path), parent(place, create=arguments.parents) as (around, name):
        there = _mode_there(place, name, around)
        mode = there if arguments.mode is None else arguments.mode
        draft = f".{uuid.uuid4().hex}.draft"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(draft, flags, 0o600, dir_fd=around), "wb") as target, source.open("rb") as content:
            try:
                written = _filled(target, content, mode, stop)
                _put_in_place(draft, name, around, arguments, source)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft, dir_fd=around)
        os.fsync(around)
    return WriteResult(shown(place.path), written)


def _mode_there(place: Place, name: str, around: int) -> int:
    try:
        there = os.stat(name, dir_fd=around, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return _MODE
    if not stat.S_ISREG(there):
        raise ToolFailed("not_a_file", f"{place.path} is there and is no regular file")
    return there & 0o777


def _filled(target: BinaryIO, content: BinaryIO, mode: int, stop: Stop) -> int:
    written = 0
    while piece := content.read(_PIECE_BYTES):
        stop.check()
        written += target.write(piece)
    target.flush()
    os.fchmod(target.fileno(), mode)
    os.fsync(target.fileno())
    return written


def _put_in_place(draft: str, name: str, around: int, arguments: WriteArguments, source: Path) -> None:
    if arguments.overwrite:
        os.replace(draft, name, src_dir_fd=around, dst_dir_fd=around)
        return
    try:
        os.link(draft, name, src_dir_fd=around, dst_dir_fd=around, follow_symlinks=False)
    except FileExistsError as exc:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=around)
        with os.fdopen(opened, "rb") as there, source.open("rb") as content:
            if not _are_equal(there, content):  # equal: this very call has been here before
                raise ToolFailed("exists", f"{arguments.path} is there, with other content") from exc


def _are_equal(one: BinaryIO, other: BinaryIO) -> bool:
    while (piece := one.read(_PIECE_BYTES)) == other.read(_PIECE_BYTES):
        if not piece:
            return True
    return False


class StatArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked at."""

    path: PathText


class StatResult(Struct, frozen=True):
    """What it is."""

    path: str
    kind: EntryKind
    bytes: int
    modified: Annotated[float, Meta(description="Seconds since 1970.")]
    mode: Annotated[int, Meta(description="Permissions.")]


class FileStat:
    """Look at a file or folder: its kind, size, time and permissions."""

    name: ClassVar[str] = "file.stat"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = StatArguments
    Result: ClassVar[type[Struct]] = StatResult

    async def run(self, arguments: StatArguments, context: Context) -> StatResult:
        return await unblocked(lambda _: self._looked_at(context.guard.readable(arguments.path)))

    def _looked_at(self, place: Place) -> StatResult:
        with told(place.path):
            found = status(place)
        kind = kind_of(found.st_mode)
        return StatResult(shown(place.path), kind, found.st_size, found.st_mtime, stat.S_IMODE(found.st_mode))


class DeleteArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is deleted."""

    path: PathText
    recursive: Annotated[bool, Meta(description="Whether a folder may go, with all that is in it.")] = False
    missing_ok: Annotated[bool, Meta(description="Whether nothing being there is as good.")] = True


class DeleteResult(Struct, frozen=True):
    """Whether anything was there to delete."""

    path: str
    deleted: bool


class FileDelete:
    """Delete a file, a link (not what it leads to) or, with `recursive`, a folder."""

    name: ClassVar[str] = "file.delete"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = DeleteArguments
    Result: ClassVar[type[Struct]] = DeleteResult

    async def run(self, arguments: DeleteArguments, context: Context) -> DeleteResult:
        place = context.guard.writable(arguments.path, follow=False)
        deleted = await unblocked(lambda _: self._deleted(arguments, place))
        return DeleteResult(shown(place.path), deleted)

    def _deleted(self, arguments: DeleteArguments, place: Place) -> bool:
        if place.keep_out is not None and place.keep_out.is_relative_to(place.path):
            raise ToolFailed("denied", f"{place.path} holds the folder of the device's key; no setting allows it")
        try:
            with told(place.path), parent(place) as (around, name):
                if kind_of(os.stat(name, dir_fd=around, follow_symlinks=False).st_mode) != "folder":
                    os.unlink(name, dir_fd=around)
                elif arguments.recursive:
                    shutil.rmtree(name, dir_fd=around)  # keeps to the folder, whatever is swapped for links meanwhile
                else:
                    raise ToolFailed("not_a_file", f"{place.path} is a folder; set recursive to delete it")
                os.fsync(around)
        except ToolFailed as exc:
            if exc.failure.code == "not_found" and arguments.missing_ok:
                return False
            raise
        return True
