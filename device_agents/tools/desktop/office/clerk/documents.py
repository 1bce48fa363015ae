"""Text documents."""

import re
from pathlib import Path
from typing import Any

from .packages import Refused, Room, check, plain

_ROWS_MAX = 500  # of a table that are told
_CELLS_MAX = 100
_LEVELS = re.compile(r"heading (\d)")


def read(request: dict[str, Any]) -> dict[str, Any]:
    import docx
    from docx.table import Table

    asked = request["arguments"]
    check(Path(request["file"]))
    document = docx.Document(request["file"])
    room, following, number = Room(), None, -1
    blocks: list[dict[str, Any]] = []
    for each in document.iter_inner_content():
        block = _table(each) if isinstance(each, Table) else _paragraph(each)
        if block is None:
            continue
        number += 1
        if number < asked["first"]:
            continue
        if len(blocks) == asked["limit"] or not room.takes(block):
            following = number
            break
        blocks.append(block)
    if following is not None and not blocks:
        raise Refused("too_large", f"block {following} is more than a result can hold")
    return {"blocks": blocks, "next": following}


def _paragraph(paragraph: Any) -> dict[str, Any] | None:
    text = plain(paragraph.text)
    if not text.strip():
        return None
    style = str(paragraph.style.name or "").casefold() if paragraph.style is not None else ""
    if style == "title":
        return {"style": "heading", "text": text, "level": 0}
    if level := _LEVELS.match(style):
        return {"style": "heading", "text": text, "level": int(level[1])}
    if style.startswith("list"):
        return {"style": "number" if "number" in style else "bullet", "text": text}
    return {"style": "paragraph", "text": text}


def _table(table: Any) -> dict[str, Any]:
    # By their elements, and not by the library's grid: a cell may say that it spans a million columns.
    rows = [
        [plain("\n".join(line.text for line in cell.p_lst)) for cell in row.tc_lst[:_CELLS_MAX]]
        for row in table._tbl.tr_lst[:_ROWS_MAX]
    ]
    return {"style": "table", "rows": rows}


def write(request: dict[str, Any]) -> dict[str, Any]:
    import docx

    document = docx.Document()
    styles = {"bullet": "List Bullet", "number": "List Number"}
    for block in request["arguments"]["blocks"]:
        match block["style"]:
            case "heading":
                document.add_heading(block["text"], level=block["level"])
            case "table":
                _add_table(document, block["rows"])
            case style:
                document.add_paragraph(block["text"], style=styles.get(style))
    document.save(request["out"])
    return {}


def _add_table(document: Any, rows: list[list[str]]) -> None:
    width = max((len(row) for row in rows), default=0)
    if not width:
        raise Refused("bad_arguments", "a table has at least one cell")
    table = document.add_table(rows=len(rows), cols=width, style="Table Grid")
    for row, cells in zip(rows, table._tbl.tr_lst, strict=True):
        for text, cell in zip(row, cells.tc_lst, strict=False):
            cell.p_lst[0].add_r().text = text
