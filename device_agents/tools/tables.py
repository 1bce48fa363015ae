"""Rows that a query gives: as many as fit in the result, and all of them in an artifact."""

import base64
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from ..errors import ToolFailed
from .base import ArtifactRef, Context
from .spool import INLINE_BYTES_MAX

CELL_CHARS_MAX = 4_000
ROWS_MAX = 1_000_000
_HELD_CHARS = 256 << 10

Cell = None | bool | int | float | str


class TableResult(Struct, frozen=True, omit_defaults=True):
    """What a query gave. Cells that JSON does not know are text, bytes are base64."""

    columns: list[str]
    rows: Annotated[list[list[Any]], Meta(description="The first ones, as many as a result can hold.")]
    count: Annotated[int, Meta(description="How many rows there are.")]
    all_rows: Annotated[ArtifactRef, Meta(description="All of them as CSV, if there are more.")] | None = None


class RowsKept:
    """Takes rows one by one. Its methods block: they are for a thread, or for few rows."""

    def __init__(self, columns: Sequence[str], path: Path, *, bytes_max: int, rows_inline_max: int) -> None:
        self.columns = [column[:CELL_CHARS_MAX] for column in columns]
        self.count = 0
        self.rows: list[list[Cell]] = []
        self._path = path
        self._bytes_max = bytes_max
        self._rows_inline_max = rows_inline_max
        self._room = INLINE_BYTES_MAX - len(msgspec.json.encode(self.columns))
        self._cut = False
        self._written = 0
        self._held = io.StringIO()
        self._csv = csv.writer(self._held)
        self._csv.writerow(self.columns)

    def add(self, row: Sequence[object]) -> None:
        """Keep one more; raise ToolFailed output_too_large."""
        cells = [plain(cell) for cell in row]
        self.count += 1
        self._room -= len(msgspec.json.encode(cells)) + 1
        if self._room < 0 or len(self.rows) == self._rows_inline_max or self._cut:
            self._cut = True
        else:
            self.rows.append(cells)
        self._csv.writerow(cells)
        if self._held.tell() > _HELD_CHARS:
            self._append()
        if self.count > ROWS_MAX or self._written > self._bytes_max:
            raise ToolFailed("output_too_large", f"more than {ROWS_MAX} rows or {self._bytes_max} bytes; ask for less")

    def finish(self) -> Path | None:
        """Return the file with all rows, if they are not all in `rows`."""
        if not self._cut:
            return None
        self._append()
        return self._path

    def _append(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = self._held.getvalue().encode("utf-8", "replace")
        with self._path.open("ab") as file:
            file.write(text)
        self._written += len(text)
        self._held.seek(0)
        self._held.truncate()


async def told_of(kept: RowsKept, whole: Path | None, context: Context) -> TableResult:
    """Return the result; `whole` is what `finish` returned."""
    artifact = await context.shelf.put(whole, "text/csv") if whole else None
    return TableResult(kept.columns, kept.rows, kept.count, artifact)


def plain(cell: object) -> Cell:
    """Return the cell as JSON knows it."""
    match cell:
        case None | bool() | str():
            return cell
        case int():
            return cell if abs(cell) < 1 << 53 else str(cell)
        case float():
            return cell if math.isfinite(cell) else str(cell)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(cell)).decode()
        case list() | dict() | tuple():
            return msgspec.json.encode(cell, enc_hook=str).decode()
        case _:
            return str(cell)
