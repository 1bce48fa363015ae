"""Office files for the tests: real ones, made by the libraries, and hostile ones, made by hand."""

import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import docx
import openpyxl
import pptx
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from ...bench import Bench


def a_workbook(path: Path) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Parts"
    for row in (["name", "price"], ["bolt", 0.5], ["nut", 0.25]):
        sheet.append(row)
    sheet["B4"] = "=SUM(B2:B3)"
    book.create_sheet("Empty")
    book.save(path)
    return path


def a_document(path: Path) -> Path:
    document = docx.Document()
    document.add_heading("The plan", 0)
    document.add_heading("First", 1)
    document.add_paragraph("Some words")
    document.add_paragraph("one", style="List Bullet")
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    document.save(str(path))
    return path


def a_presentation(path: Path) -> Path:
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text_frame.text = "The plan"
    slide.placeholders[1].text_frame.text = "one"
    deck.save(str(path))
    return path


def a_pdf(path: Path, texts: tuple[str, ...] = ("Hello", "World"), repeat: int = 1) -> Path:
    writer = PdfWriter()
    for text in texts:
        page = writer.add_blank_page(200, 200)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        content = DecodedStreamObject()
        content.set_data(f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET\n".encode() * repeat)
        page[NameObject("/Contents")] = writer._add_object(content.flate_encode())
    writer.write(path)
    return path


def a_slow_pdf(path: Path) -> Path:
    """Return one whose first page takes minutes to read."""
    return a_pdf(path, ("x",), repeat=1_500_000)


def changed(path: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """Change one part of the file."""
    with zipfile.ZipFile(path) as package:
        parts = {name: package.read(name) for name in package.namelist()}
    parts[member] = change(parts.get(member, b""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in parts.items():
            package.writestr(name, content)
    return path


def a_zip(*members: tuple[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in members:
            package.writestr(name, content)
    return held.getvalue()


def a_picture(width: int = 2, height: int = 2) -> bytes:
    """Return a PNG."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    head = width.to_bytes(4) + height.to_bytes(4) + b"\x08\x00\x00\x00\x00"
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def made(maker: Callable[[Path], Path], name: str) -> Callable[[Bench], dict[str, object]]:
    """Return how the file comes into the work folder, and the arguments that name it."""

    def arguments(bench: Bench) -> dict[str, object]:
        maker(bench.work / name)
        return {"path": name}

    return arguments
