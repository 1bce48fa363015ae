"""One example of each tool of office."""

from typing import Any

from protocol.vocabulary import Effect

from ...examples import Example, outside
from .stands import a_document, a_pdf, a_presentation, a_slow_pdf, a_workbook, made


def writing(**more: Any) -> Example:
    return Example(
        Effect.IDEMPOTENT, works=lambda bench: {"path": "x", **more}, refused=lambda bench: outside(bench) | more
    )


EXAMPLES: dict[str, Example] = {
    "office.sheet_read": Example(Effect.PURE, works=made(a_workbook, "x.xlsx"), refused=outside),
    "office.sheet_write": writing(sheets=[{"name": "Parts", "rows": [["bolt", 1, 0.5, True, None]]}]),
    "office.document_read": Example(Effect.PURE, works=made(a_document, "x.docx"), refused=outside),
    "office.document_write": writing(blocks=[{"style": "paragraph", "text": "Hello"}]),
    "office.slides_read": Example(Effect.PURE, works=made(a_presentation, "x.pptx"), refused=outside),
    "office.slides_write": writing(slides=[{"title": "Hello", "bullets": ["one"]}]),
    "office.pdf_read": Example(
        Effect.PURE, works=made(a_pdf, "x.pdf"), refused=outside, slow=made(a_slow_pdf, "y.pdf")
    ),
}
