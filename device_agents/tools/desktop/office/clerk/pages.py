"""PDF documents."""

from typing import Any

from .packages import Refused, Room, plain

_PAGE_CHARS_MAX = 30_000


def read(request: dict[str, Any]) -> dict[str, Any]:
    import pypdf
    from pypdf.errors import PyPdfError

    asked = request["arguments"]
    try:
        reader = pypdf.PdfReader(request["file"])
        if reader.is_encrypted and not reader.decrypt(""):
            raise Refused("encrypted", "a password locks the file")
        count = len(reader.pages)
        room, following = Room(), None
        told: list[dict[str, Any]] = []
        for number in range(asked["first"], count + 1):
            if len(told) == asked["limit"]:
                following = number
                break
            text = reader.pages[number - 1].extract_text()
            page = {"number": number, "text": plain(text, _PAGE_CHARS_MAX), "characters": len(text)}
            if not room.takes(page):
                if told:
                    following = number
                    break
                page["text"] = plain(text, _PAGE_CHARS_MAX // 4)
                following = number + 1 if number < count else None
                told.append(page)
                break
            told.append(page)
        title = plain((reader.metadata and reader.metadata.title) or "", 300)
    except PyPdfError as exc:
        raise Refused("bad_document", f"it is no PDF that can be read: {exc}"[:300]) from exc
    return {"pages": told, "count": count, "next": following, "title": title}
