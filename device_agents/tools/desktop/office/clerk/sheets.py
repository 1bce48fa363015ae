"""Workbooks."""

import datetime
import re
from pathlib import Path
from typing import Any

from .packages import STREAM_BYTES_MAX, Refused, Room, check, plain

COLUMNS_MAX = 500
_RANGE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})(?::([A-Z]{1,3})([0-9]{1,7}))?")
_ROWS_OF_EXCEL = 1_048_576
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def read(request: dict[str, Any]) -> dict[str, Any]:
    import openpyxl  # type: ignore[import-untyped]

    asked = request["arguments"]
    check(Path(request["file"]), xml_bytes_max=STREAM_BYTES_MAX)
    with open(request["file"], "rb") as file:
        book = openpyxl.load_workbook(file, read_only=True, data_only=not asked["formulas"], keep_links=False)
        names = [sheet.title for sheet in book.worksheets]
        if not names:
            raise Refused("bad_document", "the workbook has no sheet")
        name = asked["sheet"] if asked["sheet"] is not None else names[0]
        if name not in names:
            raise Refused("not_found", plain(f"there is no sheet {name!r}; there are {', '.join(names)}", 1_000))
        left, top, right, bottom = _bounds(asked["range"])
        last = min(bottom, top + asked["limit"] - 1)
        sheet = book[name]
        sheet.reset_dimensions()  # what a sheet says of its size is not believed
        rows, room, following = [], Room(), None
        for number, row in enumerate(
            sheet.iter_rows(min_row=top, max_row=min(last + 1, bottom), min_col=left, max_col=right, values_only=True),
            top,
        ):
            cells = _stripped([_cell(each) for each in row])
            if number > last or not room.takes(cells):
                following = number
                break
            rows.append(cells)
    if following is None:
        while rows and not rows[-1]:
            rows.pop()
    elif following == top:
        raise Refused("too_large", f"row {top} is more than a result can hold; ask for fewer columns")
    return {
        "sheets": [plain(each, 100) for each in names[:200]],
        "sheet": plain(name, 100),
        "first_row": top,
        "rows": rows,
        "next_row": following,
    }


def _bounds(said: str | None) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom, from 1 on."""
    if said is None:
        return 1, 1, COLUMNS_MAX, _ROWS_OF_EXCEL
    from openpyxl.utils import column_index_from_string  # type: ignore[import-untyped]

    match = _RANGE.fullmatch(said.upper())
    if match is None:
        raise Refused("bad_arguments", f"{said} is no range such as A1:D20")
    try:
        left, right = (column_index_from_string(each) for each in (match[1], match[3] or match[1]))
    except ValueError as exc:
        raise Refused("bad_arguments", str(exc)) from exc
    top, bottom = int(match[2]), int(match[4] or match[2])
    if not (0 < top <= bottom <= _ROWS_OF_EXCEL and left <= right < left + COLUMNS_MAX):
        raise Refused("bad_arguments", f"{said} is no range of up to {COLUMNS_MAX} columns")
    return left, top, right, bottom


def _cell(value: object) -> object:
    match value:
        case None | bool():
            return value
        case int():
            return value if abs(value) < 1 << 53 else str(value)
        case float():
            return value if value - value == 0 else str(value)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return plain(getattr(value, "text", value))  # a formula for many cells has its text there


def _stripped(cells: list[object]) -> list[object]:
    while cells and cells[-1] is None:
        cells.pop()
    return cells


def write(request: dict[str, Any]) -> dict[str, Any]:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell  # type: ignore[import-untyped]
    from openpyxl.styles import Font  # type: ignore[import-untyped]

    asked = request["arguments"]
    book = Workbook(write_only=True)
    for page in asked["sheets"]:
        sheet = book.create_sheet(page["name"])
        if page["header"]:
            sheet.freeze_panes = "A2"
        for number, row in enumerate(page["rows"]):
            cells = []
            for value in row:
                cell = WriteOnlyCell(sheet, value)
                if isinstance(value, str) and not (asked["formulas"] and value.startswith("=")):
                    cell.data_type = "s"
                    if value.startswith(_FORMULA_STARTS):
                        cell.quotePrefix = True  # so that it stays text when somebody edits the cell
                if number == 0 and page["header"]:
                    cell.font = Font(bold=True)
                cells.append(cell)
            sheet.append(cells)
    book.save(request["out"])
    return {}
