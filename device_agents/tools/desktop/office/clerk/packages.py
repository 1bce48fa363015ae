"""What an office file is before any library opens it: a zip of XML, and nothing that makes little into much.

A document type is what entities are declared in, which grow (a billion laughs) or fetch; no XML of an office file has
one. So each part is searched for one, in any encoding, and XML in an encoding that hides it is refused. Other parts may
have one, such as what a Mac's printer leaves; they are emptied, for a relation could have a library read them as XML.
"""

import json
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

MEMBERS_MAX = 10_000
TREE_BYTES_MAX = 24 << 20  # of a part that becomes a tree in memory, which is some thirty times as large
STREAM_BYTES_MAX = 128 << 20  # of one that is read piece by piece
TOTAL_BYTES_MAX = 256 << 20
ROOM_BYTES = 40_000  # of an answer, as JSON
TEXT_CHARS_MAX = 4_000  # of one cell or paragraph
_PIECE_BYTES = 1 << 20
_ENCODINGS = ("ascii", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp037", "cp500", "utf-7")
_DECLARATIONS = {f"<!{word}".encode(code) for word in ("DOCTYPE", "ENTITY") for code in _ENCODINGS}
_SAID_ENCODING = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([^\"']{1,40})[\"']")
_PLAIN_ENCODINGS = {b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"windows-1252"}
_EBCDIC = b"\x4c"  # its "<"
_XML_NAMES = (".xml", ".rels", ".vml")
_OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # a compound file: the formats before 2007, and what a password locks


class Refused(Exception):
    """What the clerk does not do, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def check(path: Path, *, xml_bytes_max: int = TREE_BYTES_MAX) -> None:
    """Raise Refused: bad_document, too_large, encrypted. Parts that are no XML and look like it are emptied."""
    with path.open("rb") as file:
        head = file.read(_PIECE_BYTES)
    if head.startswith(_OLD):
        if "EncryptedPackage".encode("utf-16-le") in head:
            raise Refused("encrypted", "a password locks the file")
        raise Refused("bad_document", "it is of a format before 2007 (.doc, .xls, .ppt), which cannot be read")
    try:
        with zipfile.ZipFile(path) as package:
            odd = _check_members(package, xml_bytes_max)
        if odd:
            _empty(path, odd)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as exc:
        raise Refused("bad_document", f"it is no office file that can be read: {exc}"[:300]) from exc


def _check_members(package: zipfile.ZipFile, xml_bytes_max: int) -> set[str]:
    """Return the names of those to be emptied."""
    members = package.infolist()
    if len(members) > MEMBERS_MAX:
        raise Refused("too_large", f"it has more than {MEMBERS_MAX} parts")
    if len({member.filename.casefold() for member in members}) < len(members):
        raise Refused("bad_document", "two of its parts have one name")
    total, odd = 0, set()
    for member in members:
        _check_name(member.filename)
        if member.flag_bits & 1:
            raise Refused("encrypted", "a password locks the file")
        content = bytearray()
        with package.open(member) as part:  # counted as it comes: what a zip says of itself is not believed
            while piece := part.read(_PIECE_BYTES):
                content += piece
                total += len(piece)
                if total > TOTAL_BYTES_MAX:
                    raise Refused("too_large", f"unpacked it has more than {TOTAL_BYTES_MAX} bytes")
                if len(content) > xml_bytes_max and _is_xml(member.filename):
                    raise Refused("too_large", f"its part {member.filename[:100]} has more than {xml_bytes_max} bytes")
        if not is_harmless(bytes(content)):
            if _is_xml(member.filename):
                said = "declares a document type, or has an encoding that could hide one"
                raise Refused("bad_document", f"its part {member.filename[:100]} {said}")
            odd.add(member.filename)
    return odd


def _empty(path: Path, odd: set[str]) -> None:
    whole = path.with_name("whole")
    path.rename(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.infolist():
            target.writestr(member.filename, b"" if member.filename in odd else source.read(member))
    whole.unlink()


def _is_xml(name: str) -> bool:
    return name.lower().endswith(_XML_NAMES)


def _check_name(name: str) -> None:
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name or ":" in parts[0]:
        raise Refused("bad_document", f"one of its parts has the name {name[:100]!r}")


def is_harmless(content: bytes) -> bool:
    """Return whether the part, read as XML, has no document type, and no encoding that could hide one."""
    upper = content.upper()
    if any(word in content or word in upper for word in _DECLARATIONS):
        return False
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return b"\0\0" not in content[:8]  # UTF-32; what is UTF-16 has been searched
    bare = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not bare.startswith(b"<"):
        return b"<" not in bare[:8] and not bare.startswith(_EBCDIC)
    said = _SAID_ENCODING.match(bare)
    return b"\0" not in bare[:8] and (said is None or said[1].lower() in _PLAIN_ENCODINGS)


class Room:
    """How much of an answer is left."""

    def __init__(self) -> None:
        self._left = ROOM_BYTES

    def takes(self, thing: Any) -> bool:
        """Return whether the thing still fits, and count it if so."""
        length = len(json.dumps(thing, ensure_ascii=False).encode()) + 1
        if length > self._left:
            return False
        self._left -= length
        return True


def plain(text: object, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Return the text as it can travel."""
    return str(text)[:chars_max].encode("utf-8", "replace").decode()
