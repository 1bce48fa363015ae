"""The contract in dictionaries, for tests and simulation: it keeps its promises until the process ends."""

from collections.abc import AsyncIterator

from galaxy.store.contract import FLEET, Answered, ArtifactRow, Batch, Recovered, Row, Summary
from galaxy.store.errors import StoreConflict
from galaxy.store.queries import whole


class MemoryStore:
    """Everything in memory, with the same refusals as a database."""

    def __init__(self) -> None:
        self._events: dict[str, dict[int, Row]] = {}
        self._summaries: dict[str, Summary] = {}
        self._snapshots: dict[str, tuple[int, bytes]] = {}
        self._answered: dict[str, Answered] = {}
        self._artifacts: dict[str, ArtifactRow] = {}
        self._settings: dict[str, str] = {}

    async def append(self, batch: Batch) -> None:
        for row in batch.rows:
            if self._events.get(row.stream, {}).get(row.seq, row) != row:
                raise StoreConflict(f"event {row.seq} of {row.stream} is recorded already, and differs")
        for answer in batch.answered:
            if self._answered.get(answer.key, answer) != answer:
                raise StoreConflict(f"the key {answer.key} is answered already, and differs")
        for row in batch.rows:
            self._events.setdefault(row.stream, {})[row.seq] = row
        self._summaries.update((summary.id, summary) for summary in batch.summaries)
        self._answered.update((answer.key, answer) for answer in batch.answered)

    async def recover(self) -> AsyncIterator[Recovered]:
        going_on = [summary for summary in self._summaries.values() if summary.ended_at is None]
        going_on.sort(key=lambda summary: (summary.submitted_at, summary.id))
        for stream in [FLEET, *(summary.id for summary in going_on)]:
            seq, body = self._snapshots.get(stream, (0, None))
            yield whole(Recovered(stream, body, seq, self._after(stream, seq)))

    async def events(self, stream: str, after: int, limit: int) -> list[Row]:
        return self._after(stream, after)[:limit]

    async def snapshot(self, stream: str, seq: int, body: bytes) -> None:
        if seq > self._snapshots.get(stream, (0, b""))[0]:
            self._snapshots[stream] = (seq, body)

    async def summary(self, id: str) -> Summary | None:
        return self._summaries.get(id)

    async def summaries(self, *, state: str | None, before: tuple[float, str] | None, limit: int) -> list[Summary]:
        newest_first = sorted(self._summaries.values(), key=lambda line: (line.submitted_at, line.id), reverse=True)
        page = [
            line
            for line in newest_first
            if (state is None or line.state == state) and (before is None or (line.submitted_at, line.id) < before)
        ]
        return page[:limit]

    async def answered(self, key: str) -> Answered | None:
        return self._answered.get(key)

    async def forget_answered(self, before: float) -> int:
        old = [answer.key for answer in self._answered.values() if answer.at < before]
        for key in old:
            del self._answered[key]
        return len(old)

    async def artifact(self, sha256: str) -> ArtifactRow | None:
        return self._artifacts.get(sha256)

    async def add_artifact(self, row: ArtifactRow) -> None:
        self._artifacts.setdefault(row.sha256, row)

    async def setting(self, name: str) -> str | None:
        return self._settings.get(name)

    async def set_setting(self, name: str, value: str) -> None:
        self._settings[name] = value

    async def close(self) -> None:
        pass

    def _after(self, stream: str, seq: int) -> list[Row]:
        return sorted((row for row in self._events.get(stream, {}).values() if row.seq > seq), key=lambda row: row.seq)
