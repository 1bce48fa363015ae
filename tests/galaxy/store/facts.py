"""What the store's tests record: rows and lines with names that read well."""

from galaxy.store.contract import Answered, Batch, Row, Summary


def row(seq: int, stream: str = "c", body: bytes = b'{"star":"fetch"}') -> Row:
    return Row(stream, seq, "star_reported", 100.0 + seq, body)


def rows(first: int, last: int, stream: str = "c") -> list[Row]:
    return [row(seq, stream) for seq in range(first, last + 1)]


def line(id: str = "c", *, at: float = 100.0, state: str = "running", ended_at: float | None = None) -> Summary:
    return Summary(id=id, name=f"the {id}", state=state, stars=3, submitted_at=at, ended_at=ended_at)


def answer(key: str = "submit/k1", *, digest: str = "d1", at: float = 100.0) -> Answered:
    return Answered(key, digest, b'{"id":"c"}', at)


def batch(*rows: Row, summaries: tuple[Summary, ...] = (), answered: tuple[Answered, ...] = ()) -> Batch:
    return Batch(list(rows), list(summaries), list(answered))
