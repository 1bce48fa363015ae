"""The tools for office files, which need no office program."""

from ...base import Tool
from .documents import OfficeDocumentRead, OfficeDocumentWrite, OfficePdfRead
from .sheets import OfficeSheetRead, OfficeSheetWrite
from .slides import OfficeSlidesRead, OfficeSlidesWrite


def tools() -> tuple[Tool, ...]:
    """Return them."""
    return (
        OfficeSheetRead(),
        OfficeSheetWrite(),
        OfficeDocumentRead(),
        OfficeDocumentWrite(),
        OfficeSlidesRead(),
        OfficeSlidesWrite(),
        OfficePdfRead(),
    )
