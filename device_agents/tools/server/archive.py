"""The tools that pack, list and unpack archives. What an archive says of itself is not believed.

Unpacked are plain files and folders only, each opened from the target's folder downward: no name leads out of it, no
link is made or followed. Bytes are counted as they come out, whatever the archive promised.
"""

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Literal

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard, Place
from ..base import ArtifactRef, Context
from ..beneath import folder, parent, regular_file, shown, told
from ..blocking import Stop, unblocked
from ..files import PathText
from ..folders import Walk
from .members import MEMBERS_MAX, members, read

LISTED_MAX = 300
_PIECE_BYTES = 1 << 18
_NAME_CHARS_MAX = 1_000
Form = Annotated[Literal["zip", "tar.gz"], Meta(description="How it is packed.")]


class PackArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is packed."""

    path: Annotated[PathText, Meta(description="A folder; its names in the archive start below it.")]
    form: Form = "zip"


class PackResult(Struct, frozen=True):
    """The archive."""

    archive: ArtifactRef
    files: int
    skipped: Annotated[int, Meta(description="Links and other things that are no files, or may not be read.")]


class ArchivePack:
    """Pack the files under a folder into a zip or tar.gz archive, which comes as an artifact."""

    name: ClassVar[str] = "archive.pack"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"members": MEMBERS_MAX}
    Arguments: ClassVar[type[Struct]] = PackArguments
    Result: ClassVar[type[Struct]] = PackResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders())

    async def run(self, arguments: PackArguments, context: Context) -> PackResult:
        place = context.guard.readable(arguments.path)
        copy = context.scratch / f"packed.{arguments.form}"
        files, skipped = await unblocked(lambda stop: _packed(place, copy, arguments.form, context, stop))
        media_type = "application/zip" if arguments.form == "zip" else "application/gzip"
        return PackResult(await context.shelf.put(copy, media_type), files, skipped)


def _packed(place: Place, copy: Path, form: str, context: Context, stop: Stop) -> tuple[int, int]:
    """Write the archive; the same files give the same bytes: neither times nor owners go in."""
    files = skipped = total = 0
    with told(copy):
        context.scratch.mkdir(parents=True, exist_ok=True)
        with folder(place):
            walk = Walk(place, recursive=True)
            walk.stop = stop
        with _opened_for_writing(copy, form) as archive:
            for entry in sorted(walk.entries(), key=lambda each: each.parts):
                stop.check()
                if entry.kind == "folder":
                    continue
                try:
                    with told(entry.parts), regular_file(place.below(*entry.parts)) as file:
                        size = os.fstat(file.fileno()).st_size
                        total += size
                        if total > context.guard.limits.file_bytes or files == MEMBERS_MAX:
                            raise ToolFailed("too_large", _too_large(context, place))
                        archive.add(shown("/".join(entry.parts)), size, file)
                except ToolFailed as exc:
                    if exc.failure.code == "too_large":
                        raise
                    skipped += 1
                    continue
                files += 1
    return files, skipped + walk.unreadable


def _too_large(context: Context, place: Place) -> str:
    bytes_max = context.guard.limits.file_bytes
    return f"{place.path} has over {MEMBERS_MAX} files or {bytes_max} bytes (limits.file_bytes in guard.toml)"


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, size: int, file: BinaryIO) -> None:
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        info.external_attr = 0o644 << 16
        with self._archive.open(info, "w", force_zip64=size >= 1 << 31) as target:
            while piece := file.read(_PIECE_BYTES):
                target.write(piece)


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def add(self, name: str, size: int, file: BinaryIO) -> None:
        info = tarfile.TarInfo(name)
        info.size = size
        self._archive.addfile(info, file)


@contextmanager
def _opened_for_writing(copy: Path, form: str) -> Iterator["_Zip | _Tar"]:
    if form == "zip":
        with zipfile.ZipFile(copy, "w") as zipped:
            yield _Zip(zipped)
    else:
        with tarfile.open(copy, "w:gz", compresslevel=6) as tarred:
            yield _Tar(tarred)


class ListArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which archive. Exactly one of `path` and `archive`."""

    path: PathText | None = None
    archive: ArtifactRef | None = None
    limit: Annotated[int, Meta(ge=1, le=LISTED_MAX)] = 100


class Listed(Struct, frozen=True):
    """One entry."""

    name: str
    bytes: int
    kind: Literal["file", "folder", "other"]


class ListResult(Struct, frozen=True):
    """What the archive says is in it."""

    entries: list[Listed]
    count: int
    bytes: Annotated[int, Meta(description="Of all entries, unpacked.")]


class ArchiveList:
    """List what is in a zip or tar archive (plain, gz, bz2 or xz), without unpacking it."""

    name: ClassVar[str] = "archive.list"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"members": MEMBERS_MAX}
    Arguments: ClassVar[type[Struct]] = ListArguments
    Result: ClassVar[type[Struct]] = ListResult

    async def run(self, arguments: ListArguments, context: Context) -> ListResult:
        archive = await _chosen(arguments.path, arguments.archive, context)
        return await unblocked(lambda stop: self._listed(arguments, archive, stop))

    def _listed(self, arguments: ListArguments, archive: Place | Path, stop: Stop) -> ListResult:
        with _opened(archive) as file:
            found = [member for member, _ in members(file, stop)]
        listed = [Listed(shown(name[:_NAME_CHARS_MAX]), size, kind) for name, size, kind in found[: arguments.limit]]
        while sum(len(each.name) for each in listed) > _PIECE_BYTES // 8:
            listed.pop()
        return ListResult(listed, len(found), sum(member.bytes for member in found))


class UnpackArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which archive, and where to. Exactly one of `path` and `archive`."""

    folder: Annotated[PathText, Meta(description="Made if it is missing. Files of the same names are replaced.")]
    path: PathText | None = None
    archive: ArtifactRef | None = None


class UnpackResult(Struct, frozen=True):
    """What was written."""

    folder: str
    files: int
    bytes: int
    skipped: Annotated[int, Meta(description="Entries that are links or devices.")]


class ArchiveUnpack:
    """Unpack a zip or tar archive into a folder: its files and folders, no links. A name that leads out is refused."""

    name: ClassVar[str] = "archive.unpack"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    limits: ClassVar[dict[str, int | float]] = {"members": MEMBERS_MAX}
    Arguments: ClassVar[type[Struct]] = UnpackArguments
    Result: ClassVar[type[Struct]] = UnpackResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders(write=True))

    async def run(self, arguments: UnpackArguments, context: Context) -> UnpackResult:
        target = context.guard.writable(arguments.folder)
        archive = await _chosen(arguments.path, arguments.archive, context)
        bytes_max = context.guard.limits.file_bytes
        return await unblocked(lambda stop: _unpacked(archive, target, bytes_max, stop))


def _unpacked(archive: Place | Path, target: Place, bytes_max: int, stop: Stop) -> UnpackResult:
    with _opened(archive) as file:  # all names are judged before the first file is written
        entries = {member.name: _steps(member.name) for member, _ in members(file, stop)}
    files = written = skipped = 0
    with told(target.path), folder(target, create=True):
        pass
    with _opened(archive) as file:
        for member, content in members(file, stop):
            steps = entries.get(member.name) or _steps(member.name)
            if member.kind == "other":
                skipped += 1
            elif member.kind == "folder":
                with told(member.name), folder(target.below(*steps), create=True):
                    pass
            elif content is not None and steps:
                written += _write(target.below(*steps), content, bytes_max - written, stop)
                files += 1
    return UnpackResult(shown(target.path), files, written, skipped)


def _write(place: Place, content: BinaryIO, bytes_max: int, stop: Stop) -> int:
    written = 0
    with told(place.path), parent(place, create=True) as (around, name):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with os.fdopen(os.open(name, flags, 0o644, dir_fd=around), "wb") as target:
            if not stat.S_ISREG(os.fstat(target.fileno()).st_mode):
                raise ToolFailed("not_a_file", f"{place.path} is there and is no regular file")
            while piece := read(content):
                stop.check()
                written += len(piece)
                if written > bytes_max:
                    reason = "the archive unpacks to more than limits.file_bytes in guard.toml"
                    raise ToolFailed("too_large", f"{reason} has left: {bytes_max} bytes")
                target.write(piece)
    return written


def _steps(name: str) -> tuple[str, ...]:
    """Return the way down to the entry; raise ToolFailed if its name leads anywhere else."""
    plain = name.replace("\\", "/")
    steps = tuple(step for step in plain.split("/") if step not in {"", "."})
    if (
        plain.startswith("/")
        or ".." in steps
        or "\0" in name
        or len(name) > _NAME_CHARS_MAX
        or ":" in (steps or ("",))[0][1:2]
    ):
        raise ToolFailed("unsafe_archive", f"the entry {name[:200]!r} leads out of the folder; nothing was unpacked")
    return steps


async def _chosen(path: str | None, archive: ArtifactRef | None, context: Context) -> Place | Path:
    if path is not None and archive is None:
        return context.guard.readable(path)
    if archive is not None and path is None:
        return await context.shelf.fetch(archive)
    raise ToolFailed("bad_arguments", "give either path or archive")


@contextmanager
def _opened(archive: Place | Path) -> Iterator[BinaryIO]:
    if isinstance(archive, Place):
        with told(archive.path), regular_file(archive) as file:
            yield file
    else:
        with told("the artifact"), archive.open("rb") as file:
            yield file
