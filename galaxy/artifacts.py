"""Artifacts: bytes by their SHA-256, taken in pieces, and visible only when whole and verified."""

import asyncio
import hashlib
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from .store.contract import ArtifactRow, Store

SHA256 = re.compile(r"[0-9a-f]{64}")
ARTIFACT_BYTES_MAX = 4 << 30


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

        What arrived before a broken connection stays, so that the next piece goes on from there.
        """
        if total > ARTIFACT_BYTES_MAX:
            raise TooLarge(f"an artifact of {total} bytes, at most {ARTIFACT_BYTES_MAX}")
        if sha256 in self._taking or start != self.offset(sha256):
            raise WrongOffset(self.offset(sha256))
        self._taking.add(sha256)
        try:
            partial = self._partial(sha256)
            partial.parent.mkdir(parents=True, exist_ok=True)
            size = start
            with partial.open("ab") as file:
                async for piece in pieces:
                    size += len(piece)
                    if size > total:
                        break
                    await asyncio.to_thread(file.write, piece)
            if size > total:
                partial.unlink()
                raise WrongBytes(f"more than the {total} bytes that were announced")
            if size < total:
                return False
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


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut, where folders can be opened."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
