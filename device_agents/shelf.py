"""The device's side of artifacts: bytes to and from Galaxy over HTTP, in pieces, resumed after a break, verified."""

import asyncio
import hashlib
import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import httpx2

from .errors import ToolFailed
from .tools.base import ArtifactRef
from .tools.blocking import Stop, unblocked

PIECE_BYTES = 4 << 20
ANSWER_WITHIN_S = 10.0  # a connection that is half-open is known by nothing else
BREAKS_MAX = 10  # in a row, without a byte of progress: the node may need a while to start anew
PAUSES_S = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0)
SESSION_WITHIN_S = 120.0  # longer than a device that is cut off goes on by itself
TELLING_BYTES = 256 << 10  # what moves less says more of the way there than of its width
RATE_WEIGHT = 0.3  # of the newest transfer in the moving mean
CACHE_BYTES_MAX = 1 << 30
IN_USE_S = 3600.0  # what was fetched or used so lately stays: a call may be reading it
SHA256 = re.compile(r"[0-9a-f]{64}")


class Shelf:
    """Artifacts as this device sees them. `token` is the session's, and changes with it."""

    def __init__(self, url: str, folder: Path) -> None:
        self._token = ""
        self._renewed = asyncio.Event()
        self.rate: float | None = None  # bytes a second, where artifacts were moved
        self._folder = folder
        self._under_way: dict[str, asyncio.Event] = {}
        folder.mkdir(parents=True, exist_ok=True)
        self._http = httpx2.AsyncClient(base_url=f"{url}/v1/artifacts/", timeout=ANSWER_WITHIN_S, trust_env=False)

    @property
    def token(self) -> str:
        return self._token

    @token.setter
    def token(self, token: str) -> None:
        self._token = token
        self._renewed.set()
        self._renewed = asyncio.Event()  # for whoever waits for the next one

    async def put(self, path: Path, media_type: str) -> ArtifactRef:
        """Return the reference once Galaxy has all of the file; raise ToolFailed when it cannot be brought there."""
        sha256, size = await unblocked(lambda stop: _digest(path, stop))
        there = 0

        async def one_piece() -> bool:
            nonlocal there
            offset = await self._offset(sha256)
            if offset is None:
                return True
            there = offset
            piece = await unblocked(lambda _: _piece(path, offset))
            if not piece and offset < size:
                raise ToolFailed("artifact_changed", f"{path.name} was cut short while it was being uploaded")
            began = time.perf_counter()
            headers = {"Content-Type": media_type, "Content-Range": _content_range(offset, len(piece), size)}
            answer = await self._http.put(sha256, content=piece, headers=headers | self._bearer())
            if answer.status_code == httpx2.codes.CONTENT_TOO_LARGE:
                raise ToolFailed("artifact_too_large", f"Galaxy takes no artifact of {size} bytes")
            answer.raise_for_status()
            there += len(piece)
            self._measured(len(piece), time.perf_counter() - began)
            return answer.status_code == httpx2.codes.CREATED

        await self._until_done(one_piece, lambda: there, f"artifact {sha256[:12]} could not be uploaded")
        return ArtifactRef(sha256, size, media_type)

    async def fetch(self, ref: ArtifactRef) -> Path:
        """Return a verified local copy; raise ToolFailed."""
        if not SHA256.fullmatch(ref.sha256):  # it becomes the name of a file
            raise ToolFailed("bad_arguments", f"{ref.sha256[:80]!r} is not the SHA-256 of an artifact")
        while under_way := self._under_way.get(ref.sha256):
            await under_way.wait()
        path = self._folder / ref.sha256
        if path.exists() and path.stat().st_size == ref.bytes:  # not what a power cut has left of it
            path.touch()  # the cache drops what was used longest ago
            return path
        self._under_way[ref.sha256] = asyncio.Event()
        try:
            await self._brought(ref, path)
        finally:
            self._under_way.pop(ref.sha256).set()
        return path

    async def _brought(self, ref: ArtifactRef, path: Path) -> None:
        partial = path.with_suffix(".part")
        partial.touch()

        def here() -> int:
            return partial.stat().st_size

        async def the_rest() -> bool:
            offset = here()
            if offset < ref.bytes:
                await self._stream(ref, partial, offset)
            return here() >= ref.bytes

        await self._until_done(the_rest, here, f"artifact {ref.sha256[:12]} could not be fetched")
        if await unblocked(lambda stop: _digest(partial, stop)) != (ref.sha256, ref.bytes):
            partial.unlink()
            text = f"what came is not artifact {ref.sha256} of {ref.bytes} bytes"
            raise ToolFailed("artifact_corrupt", text, retryable=True)
        partial.chmod(0o400)
        partial.replace(path)
        self._make_room()

    async def _stream(self, ref: ArtifactRef, partial: Path, offset: int) -> None:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._http.stream("GET", ref.sha256, headers=headers | self._bearer()) as answer:
            if answer.status_code == httpx2.codes.NOT_FOUND:
                raise ToolFailed("artifact_missing", f"Galaxy has no artifact {ref.sha256}")
            answer.raise_for_status()
            began, before = time.perf_counter(), answer.num_bytes_downloaded
            mode = "ab" if answer.status_code == httpx2.codes.PARTIAL_CONTENT else "wb"
            with partial.open(mode) as file:
                async for piece in answer.aiter_bytes():
                    file.write(piece)
                    if file.tell() > ref.bytes:  # larger than whoever named it believes, perhaps by far
                        return
            self._measured(answer.num_bytes_downloaded - before, time.perf_counter() - began)

    async def _until_done(self, step: Callable[[], Awaitable[bool]], reached: Callable[[], int], what: str) -> None:
        """Take steps until one says that it was the last; give up after too many without progress, or backward.

        A session that Galaxy does not know any more counts for nothing: the next one is waited for.
        """
        breaks = setbacks = 0
        last, why = reached(), "it gets no further"
        while True:
            token = self._token
            try:
                if await step():
                    return
            except (httpx2.HTTPError, OSError, AttributeError) as exc:  # the last: a socket lost while it was looked at
                why = str(exc).partition("\n")[0] or type(exc).__name__
                if _is_unknown(exc) and await self._has_another(token):
                    continue
            now = reached()
            breaks = 0 if now > last else breaks + 1
            setbacks += now < last
            last = now
            if max(breaks, setbacks) >= BREAKS_MAX:
                raise ToolFailed("artifact_unreachable", f"{what}: {why}", retryable=True)
            if breaks:
                await asyncio.sleep(PAUSES_S[min(breaks, len(PAUSES_S)) - 1])

    async def _has_another(self, token: str) -> bool:
        """Return whether there is the token of another session, which is waited for; it may not come."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SESSION_WITHIN_S):
                while self._token == token:
                    await self._renewed.wait()
        return self._token != token

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def _offset(self, sha256: str) -> int | None:
        """Return how many bytes Galaxy has, or None if it has all."""
        answer = await self._http.head(sha256, headers=self._bearer())
        if answer.status_code == httpx2.codes.OK:
            return None
        if answer.status_code != httpx2.codes.NOT_FOUND:
            answer.raise_for_status()
        return int(answer.headers.get("Upload-Offset", "0"))

    def _measured(self, count: int, seconds: float) -> None:
        if count >= TELLING_BYTES and seconds > 0.0:
            rate = count / seconds
            self.rate = rate if self.rate is None else self.rate + RATE_WEIGHT * (rate - self.rate)

    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def _make_room(self) -> None:
        kept = sorted(((p.stat().st_mtime, p.stat().st_size, p) for p in self._folder.iterdir()), reverse=True)
        total, in_use_since = 0, time.time() - IN_USE_S
        for used_at, size, path in kept:
            total += size
            if total > CACHE_BYTES_MAX and used_at < in_use_since:
                path.unlink(missing_ok=True)


def _is_unknown(exc: Exception) -> bool:
    """Return whether Galaxy has refused the session's token."""
    return isinstance(exc, httpx2.HTTPStatusError) and exc.response.status_code == httpx2.codes.UNAUTHORIZED


def _content_range(offset: int, length: int, size: int) -> str:
    """Return the header. A piece may be empty where Galaxy has all bytes, and has not come to verifying them."""
    return f"bytes {offset}-{offset + length - 1}/{size}" if size else "bytes */0"


def _digest(path: Path, stop: Stop) -> tuple[str, int]:
    """Return the SHA-256 and the size."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            stop.check()
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def _piece(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset, os.SEEK_SET)
        return file.read(PIECE_BYTES)
