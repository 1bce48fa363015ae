"""Artifacts: bytes by their SHA-256, taken in pieces, and visible only when whole and verified."""

import asyncio
import hashlib
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from .store.contract import ArtifactRow, Gone, Store
from .store.errors import StoreUnavailable

SHA256 = re.compile(r"[0-9a-f]{64}")
ARTIFACT_BYTES_MAX = 4 << 30
QUIET_S_MAX = 5.0  # between two pieces of an upload
TOUCHED_S = 60.0  # whoever asks for an artifact means to use it, but the time of that need not be kept so exactly


class WrongOffset(Exception):
    """A piece that does not begin where the last one ended."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the next piece must begin at {offset}")
        self.offset = offset


class WrongBytes(Exception):
    """What came is not what its name says; it is dropped."""


class TooLarge(Exception):
    """More than an artifact may be."""


class Artifacts:
    """A folder of bytes, and the store's rows about them."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._taking: set[str] = set()

    async def found(self, sha256: str) -> ArtifactRow | None:
        """Return what is known of a whole artifact whose bytes are here."""
        row = await self._store.artifact(sha256)
        return row if row and self.path(sha256).exists() else None

    async def wanted(self, sha256: str, at: float) -> ArtifactRow | None:
        """Return what is known of a whole artifact, and keep it as if it had come just now."""
        row = await self.found(sha256)
        if row and at - row.at > TOUCHED_S:
            await self._store.touch_artifact(sha256, at)
        return row

    async def forget(self, before: float, limit: int) -> Gone:
        """Delete some of the artifacts that came before this and that nobody names."""
        unused = await self._store.unused_artifacts(before, limit)
        if not unused:
            return Gone(0, 0)
        await self._store.forget_artifacts([row.sha256 for row in unused])
        gone = []
        for row in unused:
            # Nothing may happen between the look and the deed: it may be named, or be coming anew, by now.
            if await self._store.artifact(row.sha256) is None and row.sha256 not in self._taking:
                self.path(row.sha256).unlink(missing_ok=True)
                gone.append(row.bytes)
        return Gone(len(gone), sum(gone))

    def forget_uploads(self, older_than_s: float, *, dry_run: bool = False) -> Gone:
        """Delete what was begun and not gone on with for so long, by the clock of the disk."""
        incoming = self._folder / "incoming"
        gone = []
        for partial in incoming.iterdir() if incoming.exists() else ():
            found = partial.stat()
            if time.time() - found.st_mtime > older_than_s and partial.name not in self._taking:
                gone.append(found.st_size)
                if not dry_run:
                    partial.unlink()
        return Gone(len(gone), sum(gone))

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    def offset(self, sha256: str) -> int:
        """Return how many bytes of an artifact in the making are here."""
        partial = self._partial(sha256)
        return partial.stat().st_size if partial.exists() else 0

    async def take(
        self, sha256: str, pieces: AsyncIterator[bytes], *, start: int, total: int, media_type: str, at: float
    ) -> bool:
        """Append a piece; return whether the artifact is now whole. Raise WrongOffset, WrongBytes or TooLarge.

        What arrived before a broken connection stays, so that the next piece goes on from there. Raise TimeoutError
        when nothing has come for long: the connection may be half-open, and must not keep others from going on.
        """
        if total > ARTIFACT_BYTES_MAX:
            raise TooLarge(f"an artifact of {total} bytes, at most {ARTIFACT_BYTES_MAX}")
        if sha256 in self._taking or start != self.offset(sha256):
            raise WrongOffset(self.offset(sha256))
        self._taking.add(sha256)
        try:
            partial = self._partial(sha256)
            with _disk_errors():
                partial.parent.mkdir(parents=True, exist_ok=True)
            size = start
            with partial.open("ab") as file:
                async for piece in _while_they_come(pieces):
                    size += len(piece)
                    if size > total:
                        break
                    with _disk_errors():
                        await asyncio.to_thread(file.write, piece)
                with _disk_errors():
                    file.flush()
            if size > total:
                partial.unlink()
                raise WrongBytes(f"more than the {total} bytes that were announced")
            if size < total:
                return False
            with _disk_errors():
                await asyncio.to_thread(self._verify, partial, sha256)
            await self._store.add_artifact(ArtifactRow(sha256, total, media_type, at))
            return True
        finally:
            self._taking.discard(sha256)

    def _verify(self, partial: Path, sha256: str) -> None:
        with partial.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found == sha256:
                os.fsync(file.fileno())  # whoever is told that it is whole forgets it
        if found != sha256:
            partial.unlink()
            raise WrongBytes(f"the bytes are {found}")
        target = self.path(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)
        for folder in (target.parent, self._folder):
            _sync_folder(folder)

    def _partial(self, sha256: str) -> Path:
        return self._folder / "incoming" / sha256


async def _while_they_come(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(QUIET_S_MAX):
                piece = await anext(pieces)
        except StopAsyncIteration:
            return
        yield piece


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the folder of artifacts cannot be written now: {error.strerror}") from error


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where folders can be opened."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
