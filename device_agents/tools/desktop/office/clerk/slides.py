"""Presentations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .packages import Refused, Room, check, plain

_DEPTH_MAX = 10  # of groups in groups
_LINES_MAX = 1_000  # of a slide
_TITLE_ONLY, _TITLE_AND_CONTENT = 5, 1  # in the library's own template


def read(request: dict[str, Any]) -> dict[str, Any]:
    import pptx

    asked = request["arguments"]
    check(Path(request["file"]))
    slides = pptx.Presentation(request["file"]).slides
    count = len(slides)
    room, following = Room(), None
    told: list[dict[str, Any]] = []
    for number in range(asked["first"], count + 1):
        slide = _slide(number, slides[number - 1])
        if len(told) == asked["limit"] or not room.takes(slide):
            following = number
            break
        told.append(slide)
    if following is not None and not told:
        raise Refused("too_large", f"slide {following} is more than a result can hold")
    return {"slides": told, "count": count, "next": following}


def _slide(number: int, slide: Any) -> dict[str, Any]:
    title = slide.shapes.title
    found: dict[str, Any] = {"number": number, "title": plain(title.text_frame.text) if title is not None else ""}
    lines: list[str] = []
    pictures = 0
    for shape in _shapes(slide.shapes, 0):
        pictures += shape._element.tag.endswith("}pic")
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if shape.has_text_frame:
            lines += [plain(each.text) for each in shape.text_frame.paragraphs if each.text.strip()]
        elif getattr(shape, "has_table", False):
            for row in shape.table._tbl.tr_lst:
                lines.append(" | ".join(plain(_text_of(cell)) for cell in row.tc_lst[:100]))
        if len(lines) > _LINES_MAX:
            break
    found |= {"lines": lines[:_LINES_MAX], "pictures": pictures}
    if slide.has_notes_slide and (frame := slide.notes_slide.notes_text_frame) is not None:
        found["notes"] = plain(frame.text)
    return found


def _shapes(shapes: Any, depth: int) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            if depth < _DEPTH_MAX:
                yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def _text_of(cell: Any) -> str:
    return " ".join(part.text or "" for part in cell.iter("{http://schemas.openxmlformats.org/drawingml/2006/main}t"))


def write(request: dict[str, Any]) -> dict[str, Any]:
    import pptx

    deck = pptx.Presentation()
    for page in request["arguments"]["slides"]:
        has_body = bool(page["bullets"])
        slide = deck.slides.add_slide(deck.slide_layouts[_TITLE_AND_CONTENT if has_body else _TITLE_ONLY])
        slide.shapes.title.text_frame.text = page["title"]
        if has_body:
            _fill(slide.placeholders[1], page["bullets"], deck.slide_width // 2 if page["picture"] else None)
        if page["picture"]:
            _add_picture(slide, page["picture"], deck, has_body)
        if page["notes"]:
            slide.notes_slide.notes_text_frame.text = page["notes"]
    deck.save(request["out"])
    return {}


def _fill(body: Any, bullets: list[str], width: int | None) -> None:
    if width is not None:
        left, top, height = body.left, body.top, body.height
        body.left, body.top, body.width, body.height = left, top, width - left, height
    frame = body.text_frame
    for number, bullet in enumerate(bullets):
        line = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        line.text = bullet.lstrip("\t")
        line.level = min(len(bullet) - len(line.text), 8)


def _add_picture(slide: Any, picture: str, deck: Any, beside_text: bool) -> None:
    """Put it into the right half, or below the title, as large as it fits."""
    try:
        added = slide.shapes.add_picture(picture, 0, 0)
    except (OSError, ValueError, SyntaxError) as exc:
        raise Refused("bad_picture", f"it is no picture that can be shown: {exc}"[:300]) from exc
    margin = deck.slide_width // 40
    top = deck.slide_height // 4
    left = deck.slide_width // 2 if beside_text else margin
    room = deck.slide_width - left - margin, deck.slide_height - top - margin
    scale = min(room[0] / max(added.width, 1), room[1] / max(added.height, 1))
    added.width, added.height = int(added.width * scale), int(added.height * scale)
    added.left, added.top = left + (room[0] - added.width) // 2, top
