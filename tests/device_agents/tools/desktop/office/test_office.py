"""Office files: written and read again, and those that somebody made to do harm."""

import codecs
import io
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
import psutil
import pytest
from pypdf import PdfReader, PdfWriter

from device_agents.errors import ToolFailed
from device_agents.guard import Folders, Policy
from device_agents.tools.base import Tool
from device_agents.tools.desktop.office import tools
from device_agents.tools.desktop.office.clerk.packages import is_harmless

from ...bench import Bench, failing
from .stands import a_document, a_pdf, a_picture, a_presentation, a_slow_pdf, a_workbook, a_zip, changed

TOOLS: dict[str, Tool] = {tool.name.partition(".")[2]: tool for tool in tools()}
LAUGHS = (
    b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><x>&c;</x>'
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def call(bench: Bench, name: str, **arguments: Any) -> Any:
    result = bench.call(TOOLS[name], **arguments)
    assert psutil.Process().children(recursive=True) == []
    return result


def test_a_workbook_is_written_and_read_again(bench: Bench):
    rows = [["name", "price", "gift"], ["bolt", 0.5, True], ["nut", 3, None], ["café ☕", -1, False]]
    sheets = [{"name": "Parts", "rows": rows, "header": True}, {"name": "Other", "rows": []}]
    written = call(bench, "sheet_write", path="new.xlsx", sheets=sheets)
    read = call(bench, "sheet_read", path="new.xlsx")

    assert (written.path, written.artifact) == (str(bench.work / "new.xlsx"), None)
    assert written.bytes == (bench.work / "new.xlsx").stat().st_size
    assert (read.sheets, read.sheet, read.first_row, read.next_row) == (["Parts", "Other"], "Parts", 1, None)
    assert read.rows == [rows[0], rows[1], ["nut", 3], rows[3]]


def test_a_range_of_a_sheet_is_read_as_values_or_formulas(bench: Bench):
    a_workbook(bench.work / "x.xlsx")

    part = call(bench, "sheet_read", path="x.xlsx", range="b2:B4")
    assert (part.first_row, part.rows) == (2, [[0.5], [0.25]])  # nobody has calculated it yet
    assert call(bench, "sheet_read", path="x.xlsx", range="B4", formulas=True).rows == [["=SUM(B2:B3)"]]
    assert call(bench, "sheet_read", path="x.xlsx", sheet="Empty").rows == []
    first = call(bench, "sheet_read", path="x.xlsx", limit=2)
    assert (first.rows, first.next_row) == ([["name", "price"], ["bolt", 0.5]], 3)
    with failing("not_found", "Parts, Empty"):
        call(bench, "sheet_read", path="x.xlsx", sheet="No")
    for wrong in ("x", "A0", "B1:A1", "A1:ZZZ1"):
        with failing("bad_arguments"):
            call(bench, "sheet_read", path="x.xlsx", range=wrong)


def test_what_looks_like_a_formula_stays_text_unless_it_is_asked_for(bench: Bench):
    rows = [["=1+1", "+1", "-1", "@x", "=cmd|' /C calc'!A1"]]
    written = call(bench, "sheet_write", sheets=[{"name": "x", "rows": rows}])
    cells = openpyxl.load_workbook(io.BytesIO(bench.shelf.content(written.artifact)))["x"][1]
    assert [(cell.value, cell.data_type, cell.quotePrefix) for cell in cells] == [(text, "s", True) for text in rows[0]]

    written = call(bench, "sheet_write", sheets=[{"name": "x", "rows": rows}], formulas=True)
    cells = openpyxl.load_workbook(io.BytesIO(bench.shelf.content(written.artifact)))["x"][1]
    assert [cell.data_type for cell in cells] == ["f", "s", "s", "s", "f"]


def test_what_no_workbook_can_hold_is_an_argument_of_its_writer(bench: Bench):
    with failing("bad_arguments", "IllegalCharacterError"):
        call(bench, "sheet_write", sheets=[{"name": "x", "rows": [["\x01"]]}])
    with failing("bad_arguments", "one name"):
        call(bench, "sheet_write", sheets=[{"name": "x", "rows": []}, {"name": "X", "rows": []}])
    with failing("too_large"):
        call(bench, "sheet_write", sheets=[{"name": "x", "rows": [[1] * 1000] * 201}])


def test_a_file_that_is_there_is_kept_if_that_is_wanted(bench: Bench):
    (bench.work / "x.xlsx").write_text("mine", "utf-8")
    with failing("exists"):
        call(bench, "sheet_write", path="x.xlsx", overwrite=False, sheets=[{"name": "x", "rows": []}])
    assert (bench.work / "x.xlsx").read_text("utf-8") == "mine"


def test_a_document_is_written_and_read_again(bench: Bench):
    blocks = [
        {"style": "heading", "text": "The plan", "level": 0},
        {"style": "heading", "text": "Parts", "level": 2},
        {"style": "paragraph", "text": "Some words\nand more"},
        {"style": "bullet", "text": "one"},
        {"style": "number", "text": "two"},
        {"style": "table", "rows": [["a", "b"], ["c", "d"]]},
    ]
    call(bench, "document_write", path="new.docx", blocks=blocks)
    read = call(bench, "document_read", path="new.docx")

    told = [(block.style, block.text, block.level) for block in read.blocks[:5]]
    assert told == [(block["style"], block["text"], block.get("level", 1)) for block in blocks[:5]]
    assert (read.blocks[5].rows, read.next) == (blocks[5]["rows"], None)
    assert docx.Document(str(bench.work / "new.docx")).tables[0].cell(1, 1).text == "d"
    rest = call(bench, "document_read", path="new.docx", first=4, limit=1)
    assert ([block.text for block in rest.blocks], rest.next) == (["two"], 5)


def test_a_long_document_is_read_in_parts(bench: Bench):
    blocks = [{"style": "paragraph", "text": f"{number} " + "x" * 1_000} for number in range(100)]
    call(bench, "document_write", path="long.docx", blocks=blocks)
    numbers, following = [], 0
    while following is not None:
        read = call(bench, "document_read", path="long.docx", first=following)
        numbers += [int(block.text.split()[0]) for block in read.blocks]
        following = read.next

    assert numbers == list(range(100))


def test_slides_are_written_and_read_again(bench: Bench):
    (bench.work / "x.png").write_bytes(a_picture(40, 20))
    slides = [
        {"title": "The plan", "bullets": ["one", "\tdeeper"], "picture": {"path": "x.png"}, "notes": "Say hello"},
        {"title": "End", "picture": {"artifact": {"$artifact": bench.shelf.keep(a_picture()).sha256, "bytes": 1}}},
    ]
    written = call(bench, "slides_write", slides=slides)
    read = call(bench, "slides_read", artifact={"$artifact": written.artifact.sha256, "bytes": written.bytes})

    first, last = read.slides
    assert (first.title, first.lines, first.pictures, first.notes) == ("The plan", ["one", "deeper"], 1, "Say hello")
    assert (last.title, last.lines, last.pictures, read.count, read.next) == ("End", [], 1, 2, None)
    deck = pptx.Presentation(io.BytesIO(bench.shelf.content(written.artifact)))
    assert deck.slides[0].placeholders[1].text_frame.paragraphs[1].level == 1
    second = call(bench, "slides_read", artifact={"$artifact": written.artifact.sha256, "bytes": 1}, first=2, limit=1)
    assert [slide.number for slide in second.slides] == [2]


def test_what_is_no_picture_is_refused_by_its_slide(bench: Bench):
    (bench.work / "x.png").write_bytes(b"no picture")
    with failing("bad_picture"):
        call(bench, "slides_write", slides=[{"title": "x", "picture": {"path": "x.png"}}])
    with failing("denied", "guard.toml"):
        call(bench, "slides_write", slides=[{"title": "x", "picture": {"path": "/etc/hostname"}}])


def test_the_text_of_a_pdf_is_read_by_page(bench: Bench):
    a_pdf(bench.work / "x.pdf", ("Hello", "World", "Third"))

    read = call(bench, "pdf_read", path="x.pdf", limit=2)
    assert ([(page.number, page.text) for page in read.pages], read.count, read.next) == (
        [(1, "Hello"), (2, "World")],
        3,
        3,
    )
    assert [page.text for page in call(bench, "pdf_read", path="x.pdf", first=3).pages] == ["Third"]
    assert call(bench, "pdf_read", path="x.pdf", first=9).pages == []


def test_a_page_that_is_longer_than_a_result_is_cut(bench: Bench):
    a_pdf(bench.work / "x.pdf", ("Hello", "World"), repeat=10_000)

    read = call(bench, "pdf_read", path="x.pdf")
    assert [page.number for page in read.pages] == [1]
    assert len(read.pages[0].text) <= 30_000 < read.pages[0].characters
    assert read.next == 2


@pytest.mark.parametrize(("password", "code"), [("secret", "encrypted"), ("", "")])
def test_a_pdf_that_a_password_locks_says_so(bench: Bench, password: str, code: str):
    writer = PdfWriter(clone_from=PdfReader(a_pdf(bench.work / "open.pdf")))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="AES-256")
    writer.write(bench.work / "x.pdf")

    if code:
        with failing(code):
            call(bench, "pdf_read", path="x.pdf")
    else:
        assert call(bench, "pdf_read", path="x.pdf").pages[0].text == "Hello"


def test_a_document_that_a_password_locks_says_so(bench: Bench):
    locked = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1_000) + "EncryptedPackage".encode("utf-16-le")
    (bench.work / "x.docx").write_bytes(locked)
    (bench.work / "old.doc").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1_000))

    with failing("encrypted"):
        call(bench, "document_read", path="x.docx")
    with failing("bad_document", "before 2007"):
        call(bench, "document_read", path="old.doc")


@pytest.mark.parametrize(
    "encoded",
    [
        *(LAUGHS, b"\xef\xbb\xbf" + LAUGHS, codecs.BOM_UTF16_LE + LAUGHS.decode().encode("utf-16-le")),
        *(codecs.BOM_UTF16_BE + LAUGHS.decode().encode("utf-16-be"), LAUGHS.decode().encode("utf-16-le")),
        *(codecs.BOM_UTF32_LE + LAUGHS.decode().encode("utf-32-le"), LAUGHS.decode().encode("cp037")),
        b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE x+AD4-<x/>',
        b'<?xml version="1.0" encoding="hz"?><x/>',
        '<?xml version="1.0" encoding="utf-16"?><x/>'.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "<x/>".encode("utf-32-le"),
        "<x/>".encode("cp500"),
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1/x.dtd"><x/>',
    ],
)
def test_a_document_type_is_found_in_whatever_encoding(encoded: bytes):
    assert not is_harmless(encoded)


@pytest.mark.parametrize(
    "content", [b"", b"<x/>", b'<?xml version="1.0" encoding="UTF-8"?>\n<x>&lt;!</x>', a_picture()]
)
def test_what_office_files_have_is_harmless(content: bytes):
    assert is_harmless(content)
    assert is_harmless(codecs.BOM_UTF16_LE + "<x/>".encode("utf-16-le"))


KINDS: list[tuple[str, Callable[[Path], Path], str]] = [
    ("sheet_read", a_workbook, "xl/workbook.xml"),
    ("document_read", a_document, "word/document.xml"),
    ("slides_read", a_presentation, "ppt/_rels/presentation.xml.rels"),
]


@pytest.mark.parametrize(("tool", "maker", "member"), KINDS)
def test_a_document_type_is_refused(bench: Bench, tool: str, maker: Callable[[Path], Path], member: str):
    for encoded in (LAUGHS, LAUGHS.decode().encode("utf-16")):
        changed(maker(bench.work / "x"), member, lambda _, encoded=encoded: encoded)
        with failing("bad_document", member):
            call(bench, tool, path="x")


def test_a_document_type_in_a_part_that_is_no_xml_is_taken_out(bench: Bench):
    changed(a_workbook(bench.work / "x"), "xl/printerSettings/printerSettings1.bin", lambda _: LAUGHS)
    assert call(bench, "sheet_read", path="x").rows[0] == ["name", "price"]

    def led_astray(content: bytes) -> bytes:
        return content.replace(b"/xl/worksheets/sheet1.xml", b"/xl/printerSettings/printerSettings1.bin")

    changed(bench.work / "x", "xl/_rels/workbook.xml.rels", led_astray)
    with failing("bad_document", "no element found"):
        call(bench, "sheet_read", path="x")


def test_a_zip_that_unpacks_to_too_much_is_not_unpacked(bench: Bench):
    (bench.work / "one").write_bytes(a_zip(("word/document.xml", b" " * (257 << 20))))
    (bench.work / "many").write_bytes(a_zip(*((f"{number}.xml", b"") for number in range(10_001))))
    began = time.monotonic()

    for name in ("one", "many"):
        for tool in ("sheet_read", "document_read", "slides_read"):
            with failing("too_large"):
                call(bench, tool, path=name)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("name", ["../x.xml", "/etc/x.xml", "a\\..\\x.xml", "C:/x.xml"])
def test_a_part_whose_name_leads_elsewhere_is_refused(bench: Bench, name: str):
    changed(a_document(bench.work / "x"), name, lambda _: b"<x/>")
    with failing("bad_document", "name"):
        call(bench, "document_read", path="x")


def test_what_is_no_office_file_at_all_is_refused(bench: Bench):
    (bench.work / "x").write_bytes(b"no zip")
    (bench.work / "y").write_bytes(a_zip(("x.txt", b"x")))
    a_pdf(bench.work / "z")
    (bench.work / "cut").write_bytes((bench.work / "z").read_bytes()[:200])
    (bench.work / "broken").write_bytes(a_document(bench.work / "d").read_bytes()[:-2_000])

    for name in ("x", "y", "z", "broken"):
        for tool in ("sheet_read", "document_read", "slides_read"):
            with failing("bad_document"):
                call(bench, tool, path=name)
    for name in ("x", "y", "cut"):
        with failing("bad_document"):
            call(bench, "pdf_read", path=name)


def test_a_sheet_that_says_it_is_endless_is_read_as_far_as_it_goes(bench: Bench):
    def endless(content: bytes) -> bytes:
        head, _, _ = content.partition(b"<sheetData>")
        cells = b'<row r="1"><c r="A1"><v>1</v></c><c r="XFD1"><v>2</v></c></row>'
        cells += b'<row r="1048576"><c r="A1048576"><v>3</v></c></row><row r="99999999999"><c r="A1"><v>4</v></c></row>'
        head = head.replace(b"A1:B4", b"A1:XFD1048576")
        return head + b"<sheetData>" + cells + b"</sheetData></worksheet>"

    changed(a_workbook(bench.work / "x.xlsx"), "xl/worksheets/sheet1.xml", endless)

    read = call(bench, "sheet_read", path="x.xlsx", limit=2_000)
    assert (read.rows[0], len(read.rows), read.next_row) == ([1], 2_000, 2_001)
    assert call(bench, "sheet_read", path="x.xlsx", range="A1048576").rows == [[3]]


def test_a_table_that_spans_a_million_columns_takes_no_memory(bench: Bench):
    def wide(content: bytes) -> bytes:
        return content.replace(b"<w:tcPr>", b'<w:tcPr><w:gridSpan w:val="100000000"/>')

    changed(a_document(bench.work / "x"), "word/document.xml", wide)
    assert call(bench, "document_read", path="x").blocks[-1].rows == [["a", "b"]]


def test_an_external_picture_and_template_are_not_fetched(bench: Bench):
    link = (
        b'<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/'
        b'attachedTemplate" Target="http://127.0.0.1:9/x" TargetMode="External"/></Relationships>'
    )
    changed(
        a_document(bench.work / "x"),
        "word/_rels/document.xml.rels",
        lambda content: content.replace(b"</Relationships>", link),
    )
    assert call(bench, "document_read", path="x").blocks[0].text == "The plan"


def test_a_document_that_would_take_all_memory_is_not_read(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    line = b"<w:p><w:r><w:t>x</w:t></w:r></w:p>"

    def large(times: int) -> Callable[[bytes], bytes]:
        return lambda content: content.replace(b"<w:body>", b"<w:body>" + line * times)

    changed(a_document(bench.work / "x"), "word/document.xml", large(800_000))
    with failing("too_large", "word/document.xml"):
        call(bench, "document_read", path="x")
    changed(a_document(bench.work / "x"), "word/document.xml", large(300_000))
    assert call(bench, "document_read", path="x", limit=5).next == 5
    monkeypatch.setattr("device_agents.tools.desktop.office.asking.MEMORY_BYTES", 100 << 20)
    with pytest.raises(ToolFailed, match=r"MiB of memory|gives up"):
        call(bench, "document_read", path="x")


def test_a_pdf_that_takes_for_ever_ends_with_its_time(bench: Bench):
    a_slow_pdf(bench.work / "x.pdf")
    began = time.monotonic()

    with failing("timeout", "2 s", retryable=True):
        call(bench, "pdf_read", path="x.pdf", timeout_s=2)
    assert time.monotonic() - began < 10


def test_a_pdf_whose_pages_go_in_circles_comes_to_an_end(bench: Bench):
    code = (
        b"%PDF-1.4\n1 0 obj <</Type/Catalog/Pages 2 0 R>> endobj\n"
        b"2 0 obj <</Type/Pages/Count 9/Kids[2 0 R 2 0 R 2 0 R]/Parent 2 0 R>> endobj\n"
        b"trailer <</Root 1 0 R/Size 3/Prev 0>>\nstartxref\n0\n%%EOF"
    )
    (bench.work / "x.pdf").write_bytes(code)
    with pytest.raises(ToolFailed, match=r"no PDF that can be read|gives up|given up"):
        call(bench, "pdf_read", path="x.pdf", timeout_s=5)


def test_files_elsewhere_are_neither_read_nor_written(bench: Bench, tmp_path: Path):
    (tmp_path / "strict").mkdir()
    strict = Bench(tmp_path / "strict", Policy(folders=Folders(write=())))
    with failing("denied", "folders.write"):
        call(strict, "document_write", path="x.docx", blocks=[{"style": "paragraph", "text": "x"}])
    with failing("denied", "folders.read"):
        call(bench, "pdf_read", path="/etc/hostname")
    os.symlink("/etc", bench.work / "link")
    with failing("denied"):
        call(bench, "sheet_write", path="link/x.xlsx", sheets=[{"name": "x", "rows": []}])


def test_a_macro_stays_where_it_is(bench: Bench):
    a_workbook(bench.work / "x.xlsm")
    changed(bench.work / "x.xlsm", "xl/vbaProject.bin", lambda _: b"\xcc\x61macro")
    assert call(bench, "sheet_read", path="x.xlsm").rows[0] == ["name", "price"]


def test_each_part_of_a_file_is_searched_as_it_is_and_not_as_it_says(bench: Bench):
    """A zip may say that a member is empty, and bring it all the same."""
    path = a_document(bench.work / "x")
    with zipfile.ZipFile(path, "a") as package:
        package.writestr("evil.xml", LAUGHS)
    code = bytearray(path.read_bytes())
    at = code.rindex(b"evil.xml") - 46  # its entry in the central directory
    code[at + 24 : at + 28] = (0).to_bytes(4, "little")
    path.write_bytes(code)
    with failing("bad_document"):
        call(bench, "document_read", path="x")
