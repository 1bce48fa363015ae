"""The tools that bring files to the phone and from it: to and from the folders that `agent.toml` names."""

import posixpath
import stat
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ..base import ArtifactRef, Context
from ..files import PathText
from ..given import Given
from .apps import opened, source_of
from .line import Line, Status, command, on_phone, write
from .look import OnPhone

PhonePath = Annotated[
    str,
    Meta(
        max_length=1_000,
        pattern="^/[^\\x00-\\x1f]+$",
        description="On the phone, absolute, in a folder that its owner opened: by default /sdcard/Download.",
    ),
]


class PushArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is brought where."""

    to: PhonePath
    path: PathText | None = None
    artifact: Annotated[ArtifactRef, Meta(description="Instead of a path.")] | None = None


class Pushed(Struct, frozen=True):
    """The file is on the phone."""

    to: str
    bytes: int


class PhonePush(OnPhone):
    """Bring a file or an artifact to the phone, in place of what is there. Cut off, it lies there in part."""

    name: ClassVar[str] = "phone.push"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    Arguments: ClassVar[type[Struct]] = PushArguments
    Result: ClassVar[type[Struct]] = Pushed

    async def run(self, arguments: PushArguments, context: Context) -> Pushed:
        folder = _folder_for(arguments.to, self._settings.push, "push")
        source = await source_of(Given(arguments.path, arguments.artifact), context)

        def pushed(line: Line) -> Pushed:
            found = _status(line, folder, arguments.to)
            if found.mode and not found.is_file:
                raise ToolFailed("not_a_file", f"{arguments.to} is there on the phone, and is no file")
            with opened(source, context.guard) as file:
                return Pushed(arguments.to, line.push(file, arguments.to))

        return await on_phone(self._settings, pushed)


class PullArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which file."""

    path: PhonePath


class Pulled(Struct, frozen=True):
    """The file's bytes."""

    file: ArtifactRef


class PhonePull(OnPhone):
    """Fetch a file of the phone, as an artifact."""

    name: ClassVar[str] = "phone.pull"
    effect: ClassVar[Effect] = Effect.PURE
    Arguments: ClassVar[type[Struct]] = PullArguments
    Result: ClassVar[type[Struct]] = Pulled

    async def run(self, arguments: PullArguments, context: Context) -> Pulled:
        folder = _folder_for(arguments.path, self._settings.pull, "pull")
        copy, bytes_max = context.scratch / "pulled", context.guard.limits.file_bytes

        def pulled(line: Line) -> None:
            found = _status(line, folder, arguments.path)
            if not found.mode:
                raise ToolFailed("not_found", f"there is no file {arguments.path} on the phone")
            if not found.is_file:
                raise ToolFailed("not_a_file", f"{arguments.path} is no file")
            write(line.pulled(arguments.path, bytes_max), copy)

        await on_phone(self._settings, pulled)
        return Pulled(await context.shelf.put(copy, "application/octet-stream"))


def _folder_for(path: str, folders: tuple[str, ...], setting: str) -> str:
    """Return the folder that the path is in by its spelling; raise ToolFailed `denied`."""
    if ".." in path.split("/"):
        raise ToolFailed(
            "denied", f'{path}: a path on the phone has no ".."; mobile.{setting} in agent.toml opens folders'
        )
    for folder in map(posixpath.normpath, folders):
        if posixpath.normpath(path).startswith(f"{folder.rstrip('/')}/"):
            return folder
    said = (
        f"{path} is in no folder of the phone that is open; its folder in mobile.{setting} in agent.toml would allow it"
    )
    raise ToolFailed("denied", said)


def _status(line: Line, folder: str, path: str) -> Status:
    """Return what is at the path; raise ToolFailed `denied` where a link leads out of the folder, or is at its end."""
    around = posixpath.dirname(posixpath.normpath(path))
    inside = posixpath.normpath(_real(line, around)) + "/"
    if not inside.startswith(posixpath.normpath(_real(line, folder)).rstrip("/") + "/"):
        raise ToolFailed("denied", f"{path} leads out of {folder} by a link; agent.toml opens folders, not links")
    found = line.status(path)
    if stat.S_ISLNK(found.mode):
        raise ToolFailed("denied", f"{path} is a link, and is not followed; agent.toml opens folders, not links")
    return found


def _real(line: Line, path: str) -> str:
    said = line.ask(command("readlink", "-f", path))
    if said.code != 0 or not said.stdout:
        raise ToolFailed("not_found", f"there is no folder {path} on the phone")
    return said.text.removesuffix("\n")
