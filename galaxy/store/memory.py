"""The contract in dictionaries, for tests and simulation: it keeps its promises until the process ends."""

from collections.abc import AsyncIterator

from galaxy.store.contract import FLEET, Answered, ArtifactRow, Batch, Gone, Recovered, Row, Summary
from galaxy.store.errors import StoreConflict
from galaxy.store.queries import whole


class MemoryStore:
    """Everything in memory, with the same refusals as a database."""

    def __init__(self) -> None:
        self._events: dict[str, dict[int, Row]] = {}
        self._summaries: dict[str, Summary] = {}
        self._snapshots: dict[str, tuple[int, bytes]] = {}
        self._answered: dict[str, Answered] = {}
        self._uses: set[tuple[str, str]] = set()  # (artifact, stream)
        self._forgotten: dict[str, tuple[float, float | None]] = {}  # id -> when, and when nothing was left of it
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
        self._uses.update(batch.uses)

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

    async def kept_snapshot(self, stream: str) -> tuple[int, bytes] | None:
        return self._snapshots.get(stream)

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

    async def touch_artifact(self, sha256: str, at: float) -> None:
        if (row := self._artifacts.get(sha256)) and row.at < at:
            self._artifacts[sha256] = row._replace(at=at)

    async def unused_artifacts(
        self, before: float, limit: int, *, ended_before: float | None = None
    ) -> list[ArtifactRow]:
        ended = set() if ended_before is None else {one.id for one in self._ended(ended_before)}
        used = {name for name, stream in self._uses if stream not in ended}
        return sorted(row for row in self._artifacts.values() if row.at < before and row.sha256 not in used)[:limit]

    async def forget_artifacts(self, names: list[str]) -> None:
        used = {name for name, _ in self._uses}
        for name in set(names) - used:
            self._artifacts.pop(name, None)

    async def forget_ended(self, before: float, at: float, limit: int) -> list[str]:
        ids = [line.id for line in self._ended(before)[:limit]]
        for id in ids:
            del self._summaries[id]
            self._forgotten[id] = (at, None)
        return ids

    async def forget_events(self, at: float, limit: int) -> Gone | None:
        id = next((id for id, (_, emptied_at) in self._forgotten.items() if emptied_at is None), None)
        if id is None:
            return None
        rows = self._after(id, 0)[:limit]
        if len(rows) < limit:
            self._snapshots.pop(id, None)
            self._uses = {(name, stream) for name, stream in self._uses if stream != id}
            self._forgotten[id] = (self._forgotten[id][0], at)
        return self._delete(rows)

    async def forget_fleet(self, before: float, limit: int) -> Gone:
        return self._delete(self._old_of_fleet(before)[:limit])

    async def forgotten_at(self, id: str) -> float | None:
        return self._forgotten.get(id, (None,))[0]

    async def forget_forgotten(self, before: float) -> None:
        old = [id for id, (_, emptied_at) in self._forgotten.items() if emptied_at is not None and emptied_at < before]
        for id in old:
            del self._forgotten[id]

    async def ended(self, before: float) -> tuple[Gone, Gone]:
        lines, fleet = self._ended(before), self._old_of_fleet(before)
        size = sum(len(row.body) for line in lines for row in self._after(line.id, 0))
        return Gone(len(lines), size), Gone(len(fleet), sum(len(row.body) for row in fleet))

    async def answers(self, before: float) -> Gone:
        old = [answer.answer for answer in self._answered.values() if answer.at < before]
        return Gone(len(old), sum(map(len, old)))

    async def streams(self, after: str, limit: int) -> list[str]:
        return sorted(stream for stream, rows in self._events.items() if rows and stream > after)[:limit]

    async def setting(self, name: str) -> str | None:
        return self._settings.get(name)

    async def set_setting(self, name: str, value: str) -> None:
        self._settings[name] = value

    async def compact(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def _ended(self, before: float) -> list[Summary]:
        ended = [(line.ended_at, line) for line in self._summaries.values() if line.ended_at is not None]
        return [line for at, line in sorted(ended, key=lambda one: one[0]) if at < before]

    def _old_of_fleet(self, before: float) -> list[Row]:
        covered = self._snapshots.get(FLEET, (0, b""))[0]
        return [row for row in self._after(FLEET, 0) if row.at < before and row.seq <= covered]

    def _delete(self, rows: list[Row]) -> Gone:
        for row in rows:
            del self._events[row.stream][row.seq]
        return Gone(len(rows), sum(len(row.body) for row in rows))

    def _after(self, stream: str, seq: int) -> list[Row]:
        return sorted((row for row in self._events.get(stream, {}).values() if row.seq > seq), key=lambda row: row.seq)
