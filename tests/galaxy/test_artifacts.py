"""The folder of artifacts: what is there, what is half there, and what a broken write leaves behind."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from galaxy import artifacts as module
from galaxy.artifacts import ARTIFACT_BYTES_MAX, Artifacts, TooLarge, WrongBytes, WrongOffset
from galaxy.store.errors import StoreUnavailable
from galaxy.store.memory import MemoryStore

pytestmark = pytest.mark.asyncio

BYTES = b"0123456789"
NAME = hashlib.sha256(BYTES).hexdigest()


async def pieces(*parts: bytes | Exception) -> AsyncIterator[bytes]:
    for part in parts:
        if isinstance(part, Exception):
            raise part
        yield part


async def take(artifacts: Artifacts, *parts: bytes | Exception, start: int = 0, total: int = 10) -> bool:
    return await artifacts.take(NAME, pieces(*parts), start=start, total=total, media_type="text/plain", at=1.0)


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", MemoryStore())


async def test_bytes_are_there_when_all_have_come_and_not_before(artifacts: Artifacts):
    assert not await take(artifacts, b"012", b"34")
    assert (artifacts.offset(NAME), await artifacts.found(NAME)) == (5, None)
    assert await take(artifacts, b"56789", start=5)

    row = await artifacts.found(NAME)
    assert row
    assert (row.bytes, row.media_type, artifacts.offset(NAME)) == (10, "text/plain", 0)
    assert artifacts.path(NAME).read_bytes() == BYTES


async def test_what_came_before_a_failure_is_kept_and_may_be_gone_on_from(artifacts: Artifacts):
    with pytest.raises(OSError, match="cut"):
        await take(artifacts, b"0123", OSError("cut"))

    assert artifacts.offset(NAME) == 4
    assert await take(artifacts, b"456789", start=4)


async def test_an_upload_of_which_no_more_comes_is_let_go_and_gone_on_from_by_another(
    artifacts: Artifacts, monkeypatch
):
    """As from a device behind a link that has become half-open."""
    monkeypatch.setattr(module, "QUIET_S_MAX", 0.05)

    async def stuck() -> AsyncIterator[bytes]:
        yield b"0123"
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await artifacts.take(NAME, stuck(), start=0, total=10, media_type="text/plain", at=1.0)

    assert artifacts.offset(NAME) == 4
    assert await take(artifacts, b"456789", start=4)


async def test_a_gap_or_a_repetition_is_refused_with_the_right_offset(artifacts: Artifacts):
    await take(artifacts, b"0123")
    for start in (0, 3, 5):
        with pytest.raises(WrongOffset) as refused:
            await take(artifacts, b"x", start=start)
        assert refused.value.offset == 4


@pytest.mark.parametrize("parts", [(b"012345678x",), (b"01234", b"56789", b"x"), (b"x" * 99,)])
async def test_wrong_bytes_are_dropped_whole(artifacts: Artifacts, parts: tuple[bytes, ...]):
    with pytest.raises(WrongBytes):
        await take(artifacts, *parts)

    assert artifacts.offset(NAME) == 0
    assert await take(artifacts, BYTES)


async def test_what_is_announced_too_large_is_not_even_begun(artifacts: Artifacts):
    with pytest.raises(TooLarge):
        await take(artifacts, BYTES, total=ARTIFACT_BYTES_MAX + 1)

    assert artifacts.offset(NAME) == 0


async def test_bytes_that_the_store_did_not_hear_of_are_taken_again(tmp_path: Path):
    class Deaf(MemoryStore):
        deaf = True

        async def add_artifact(self, row: object) -> None:
            if self.deaf:
                raise StoreUnavailable("gone")
            await super().add_artifact(row)  # type: ignore[arg-type]

    store = Deaf()
    artifacts = Artifacts(tmp_path, store)
    with pytest.raises(StoreUnavailable):
        await take(artifacts, BYTES)
    assert await artifacts.found(NAME) is None
    store.deaf = False

    assert await take(artifacts, BYTES)
    assert await artifacts.found(NAME)
