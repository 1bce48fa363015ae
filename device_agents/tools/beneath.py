"""Opens what the guard allowed, from its folder downward, step by step and following no link.

The guard resolves links when it judges a path. A link that a program puts there afterwards would lead anywhere, were
the path simply opened; here each step starts in the folder that the last one opened, and a link is the end of the way.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Literal

from ..errors import ToolFailed
from ..guard import Place

_STEP = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", 0)  # O_PATH: may be passed, not listed
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK  # a FIFO must not make us wait

_CODES = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_a_folder",
    errno.EISDIR: "not_a_file",
    errno.EEXIST: "exists",
    errno.EACCES: "not_permitted",
    errno.EPERM: "not_permitted",
    errno.EROFS: "not_permitted",
    errno.ENAMETOOLONG: "bad_arguments",
    errno.E2BIG: "too_large",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
}
EntryKind = Literal["file", "folder", "link", "other"]

_MAY_PASS = {"disk_full", "io_failed"}


@contextmanager
def told(subject: object) -> Iterator[None]:
    """Turn what the operating system says about the subject into ToolFailed."""
    try:
        yield
    except OSError as exc:
        code = _CODES.get(exc.errno or 0, "io_failed")
        raise ToolFailed(code, f"{subject}: {exc.strerror or exc}", retryable=code in _MAY_PASS) from exc


@contextmanager
def folder(place: Place, *, create: bool = False) -> Iterator[int]:
    """Yield the open folder at the place, one that can be listed and synced; `create` makes what is missing."""
    with _walked(place, place.parts, create=create) as step:
        opened = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=step)
    try:
        yield opened
    finally:
        os.close(opened)


@contextmanager
def parent(place: Place, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the open folder around the place, and the name that the place has there."""
    if not place.parts:
        raise ToolFailed("denied", f"{place.path} is itself a folder of the policy, and stays as it is")
    with folder(Place(place.root, place.parts[:-1], place.keep_out), create=create) as opened:
        yield opened, place.parts[-1]


@contextmanager
def regular_file(place: Place) -> Iterator[BinaryIO]:
    """Yield the file at the place, open for reading."""
    if not place.parts:
        raise ToolFailed("not_a_file", f"{place.path} is a folder")
    with _walked(place, place.parts[:-1]) as step:
        try:
            opened = os.open(place.parts[-1], _FILE, dir_fd=step)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                raise _moved(place) from exc
            if exc.errno == errno.ENXIO:  # a socket
                raise ToolFailed("not_a_file", f"{place.path} is not a regular file") from exc
            raise
    with os.fdopen(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise ToolFailed("not_a_file", f"{place.path} is not a regular file")
        yield file


def status(place: Place) -> os.stat_result:
    """Return the status of what is at the place, which is not followed if it is a link."""
    with _walked(place, place.parts[:-1]) as step:
        return os.stat(place.parts[-1] if place.parts else ".", dir_fd=step, follow_symlinks=False)


def kind_of(mode: int) -> EntryKind:
    """Return what sort of thing has this mode: file, folder, link or other."""
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "link" if stat.S_ISLNK(mode) else "other"


def shown(path: object) -> str:
    """Return the path as text that can travel; a name need not be text."""
    return os.fsencode(str(path)).decode("utf-8", "replace")


@contextmanager
def _walked(place: Place, parts: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
    """Yield the descriptor of the folder that the parts lead to: to start from, not to read where O_PATH exists."""
    forbidden = _identity(place)
    here = os.open(place.root, _STEP)
    try:
        _check_allowed(here, forbidden, place)
        for part in parts:
            below = _stepped(here, part, place, create=create)
            os.close(here)
            here = below
            _check_allowed(here, forbidden, place)
        yield here
    finally:
        os.close(here)


def _stepped(here: int, part: str, place: Place, *, create: bool) -> int:
    try:
        return os.open(part, _STEP, dir_fd=here)
    except FileNotFoundError:
        if not create:
            raise
    except OSError as exc:
        if exc.errno in {errno.ENOTDIR, errno.ELOOP} and stat.S_ISLNK(os.lstat(part, dir_fd=here).st_mode):
            raise _moved(place) from exc
        raise
    with suppress(FileExistsError):  # made by another call since; the next line shows what it is
        os.mkdir(part, 0o777, dir_fd=here)
    return os.open(part, _STEP, dir_fd=here)


def _identity(place: Place) -> tuple[int, int] | None:
    if place.keep_out is None:
        return None
    try:
        found = os.stat(place.keep_out)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _check_allowed(here: int, forbidden: tuple[int, int] | None, place: Place) -> None:
    """A name may differ and the folder be the same: by case, by a mount."""
    if forbidden is not None:
        found = os.fstat(here)
        if (found.st_dev, found.st_ino) == forbidden:
            raise ToolFailed("denied", f"{place.path} is in the folder of the device's key; no setting allows it")


def _moved(place: Place) -> ToolFailed:
    return ToolFailed("denied", f"{place.path} has become a link since it was judged, and is not followed")
