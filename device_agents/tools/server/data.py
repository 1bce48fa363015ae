"""The tool that asks tables and JSON documents in files, in the language of SQLite.

The files are read into tables of a database in memory; what asks may read these tables and do nothing else.
"""

import csv
import io
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard, Place
from ..base import Context
from ..beneath import regular_file, told
from ..blocking import Stop, unblocked
from ..files import PathText
from ..tables import ROWS_MAX, RowsKept, TableResult, told_of

FILES_BYTES_MAX = 64 << 20
COLUMNS_MAX = 500
_CELL_BYTES_MAX = 16 << 20
_STEPS_BETWEEN_LOOKS = 20_000  # of SQLite's machine, about a millisecond
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_BROKEN = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")
_READING = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
Look = Callable[[], None]
TableName = Annotated[str, Meta(max_length=60, pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


class QueryArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which files, and what is asked of them."""

    tables: Annotated[
        dict[TableName, PathText],
        Meta(
            min_length=1,
            max_length=10,
            description="Name -> file: .csv and .tsv with a line of names, .jsonl, or .json. A list of objects is a "
            "table of their fields; any other document is one row with the column `document`, for json_each and ->>.",
        ),
    ]
    sql: Annotated[str, Meta(min_length=1, max_length=20_000, description="One SELECT of SQLite over these tables.")]
    limit: Annotated[int, Meta(ge=1, le=5_000, description="Rows in the result; all are in the artifact.")] = 500
    timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30


class DataQuery:
    """Ask CSV, TSV, JSON and JSONL files with a SELECT in SQLite's SQL: filter, join, group, or dig into JSON."""

    name: ClassVar[str] = "data.query"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"files_bytes": FILES_BYTES_MAX, "rows": ROWS_MAX}
    Arguments: ClassVar[type[Struct]] = QueryArguments
    Result: ClassVar[type[Struct]] = TableResult

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_folders())

    async def run(self, arguments: QueryArguments, context: Context) -> TableResult:
        context.guard.check_timeout(arguments.timeout_s)
        places = {name: context.guard.readable(path) for name, path in arguments.tables.items()}
        kept, whole = await unblocked(lambda stop: _asked(arguments, places, context, stop))
        return await told_of(kept, whole, context)


def _asked(
    arguments: QueryArguments, places: dict[str, Place], context: Context, stop: Stop
) -> tuple[RowsKept, Path | None]:
    ends = time.monotonic() + arguments.timeout_s
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as base:
        base.set_progress_handler(lambda: stop.is_set() or time.monotonic() > ends, _STEPS_BETWEEN_LOOKS)
        left = FILES_BYTES_MAX
        try:
            for name, place in places.items():
                left -= _loaded(base, name, place, left, partial(_look, ends, stop))
            base.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # declares them, while that is allowed
            base.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _CELL_BYTES_MAX)
            base.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, COLUMNS_MAX)
            base.set_authorizer(_may_read)
            rows = base.execute(arguments.sql)
            if rows.description is None:
                raise ToolFailed("bad_query", "that is no SELECT")
            columns = [column[0] for column in rows.description]
            bytes_max = context.guard.limits.output_bytes
            kept = RowsKept(columns, context.scratch / "rows.csv", bytes_max=bytes_max, rows_inline_max=arguments.limit)
            with told("the rows"):
                for row in rows:
                    stop.check()
                    kept.add(row)
                return kept, kept.finish()
        except (sqlite3.Error, sqlite3.Warning, OverflowError) as exc:
            _look(ends, stop)
            raise ToolFailed("bad_query", f"{exc}"[:500]) from exc


def _look(ends: float, stop: Stop) -> None:
    """Raise what ends the call if nobody wants it any more, or its time is over."""
    stop.check()
    if time.monotonic() > ends:
        raise ToolFailed("timeout", "to read the files and to ask them took more than timeout_s")


def _may_read(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action in _READING or (action == sqlite3.SQLITE_FUNCTION and second != "load_extension"):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _loaded(base: sqlite3.Connection, name: str, place: Place, bytes_max: int, look: Look) -> int:
    """Read the file into a table, and return its length."""
    with told(place.path), regular_file(place) as file:
        content = file.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise ToolFailed("too_large", f"the files have more than {FILES_BYTES_MAX} bytes together")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ToolFailed("decode_error", f"{place.path} is not UTF-8 at byte {exc.start}") from exc
    try:
        columns, rows = _READERS.get(place.path.suffix.lower(), _csv)(text, look)
    except (csv.Error, msgspec.DecodeError, RecursionError) as exc:
        raise ToolFailed("bad_file", f"{place.path}: {exc}") from exc
    if not columns or len(columns) > COLUMNS_MAX:
        raise ToolFailed("bad_file", f"{place.path} has {len(columns)} columns, and 1 to {COLUMNS_MAX} can be read")
    quoted = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
    places = ", ".join("?" * len(columns))
    base.execute("BEGIN")
    base.execute(f'CREATE TABLE "{name}" ({quoted})')
    base.executemany(f'INSERT INTO "{name}" VALUES ({places})', _until(look, rows))  # noqa: S608  # the name is plain
    base.execute("COMMIT")
    return len(content)


Rows = tuple[list[str], Iterable[tuple[object, ...]]]


Row = TypeVar("Row")


def _until(look: Look, rows: Iterable[Row]) -> Iterator[Row]:
    for row in rows:
        look()
        yield row


def _csv(text: str, look: Look, delimiter: str = ",") -> Rows:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = (row for row in _until(look, lines) if row)
    columns = _distinct(next(rows, []))
    width = len(columns)
    if width > COLUMNS_MAX:
        return columns, []  # which is refused; the rest is not read for that
    found = []
    for number, row in enumerate(rows, 2):
        if len(row) != width:
            raise csv.Error(f"row {number} has {len(row)} cells, and the line of names {width}")
        found.append(row)
    kinds = [_kind_of(row[index] for row in _until(look, found)) for index in range(width)]
    return columns, (tuple(kind(cell) for kind, cell in zip(kinds, row, strict=True)) for row in found)


def _kind_of(cells: Iterable[str]) -> Callable[[str], object]:
    """Return how the column's cells are read: as numbers only if all are, so that 007 stays what it is."""
    whole = broken = True
    for cell in cells:
        if cell:
            whole = whole and _WHOLE.fullmatch(cell) is not None
            broken = broken and _BROKEN.fullmatch(cell) is not None
    if whole:
        return lambda cell: int(cell) if cell else None
    if broken:
        return lambda cell: float(cell) if cell else None
    return str


def _distinct(names: list[str]) -> list[str]:
    """Return the names with a number behind those that are there already; SQLite's names have no case."""
    found: dict[str, int] = {}
    distinct = []
    for name in names:
        number = found[name.casefold()] = found.get(name.casefold(), 0) + 1
        distinct.append(name if number == 1 else f"{name}_{number}")
    return distinct


def _jsonl(text: str, look: Look) -> Rows:
    lines = _until(look, text.splitlines())
    return _of_documents([msgspec.json.decode(line) for line in lines if line.strip()])


def _json(text: str, look: Look) -> Rows:
    document = msgspec.json.decode(text)
    if isinstance(document, list) and document and all(isinstance(each, dict) for each in document):
        return _of_documents(document)
    return ["document"], [(text,)]


def _of_documents(documents: list[Any]) -> Rows:
    if not all(isinstance(each, dict) for each in documents):
        return ["document"], [(msgspec.json.encode(each).decode(),) for each in documents]
    keys: dict[str, None] = {}
    for each in documents:
        keys.update(dict.fromkeys(each))
    columns = _distinct(list(keys))
    return columns, (tuple(_cell(each.get(key)) for key in keys) for each in documents)


def _cell(value: object) -> object:
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    if isinstance(value, int) and abs(value) >= 1 << 63:
        return str(value)
    return value


_READERS: dict[str, Callable[[str, Look], Rows]] = {
    ".csv": _csv,
    ".tsv": lambda text, look: _csv(text, look, "\t"),
    ".json": _json,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
}
