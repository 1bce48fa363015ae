"""The elements on the phone's screen, as uiautomator tells them in XML. Apps write it: it is read with care."""

import re
from typing import Annotated
from xml.parsers import expat  # no entity and no document type gets past the handlers below

from msgspec import Meta, Struct

from ...errors import ToolFailed
from .line import Line

XML_BYTES_MAX = 4 << 20
NODES_MAX = 20_000
DEPTH_MAX = 200
_TEXT_CHARS_MAX = 500
_BOUNDS = re.compile(r"\[(-?\d{1,6}),(-?\d{1,6})\]\[(-?\d{1,6}),(-?\d{1,6})\]")
# The file goes when the shell does, however that ends. `$$` keeps two calls apart.
_DUMP = 't=/data/local/tmp/galaxy-$$.xml; trap "rm -f $t" EXIT; uiautomator dump $t && cat $t'


class Element(Struct, frozen=True, omit_defaults=True):
    """Something on the screen."""

    bounds: Annotated[tuple[int, int, int, int], Meta(description="Left, top, right, bottom in pixels.")]
    kind: Annotated[str, Meta(description="Its class, without the package.")] = ""
    text: str = ""
    description: str = ""
    id: str = ""
    clickable: bool = False
    checked: bool | None = None
    disabled: bool = False
    focused: bool = False
    scrollable: bool = False
    password: bool = False

    @property
    def says_something(self) -> bool:
        return bool(self.text or self.description or self.id or self.clickable or self.scrollable)

    @property
    def is_visible(self) -> bool:
        left, top, right, bottom = self.bounds
        return right > left and bottom > top

    @property
    def centre(self) -> tuple[int, int]:
        left, top, right, bottom = self.bounds
        return (left + right) // 2, (top + bottom) // 2


def elements(line: Line) -> list[Element]:
    """Return what is on the screen; raise ToolFailed no_accessibility, unreadable_screen."""
    said = line.ask(_DUMP, bytes_max=XML_BYTES_MAX + 1_000)
    start = said.stdout.find(b"<")
    if start < 0:
        text = f"the phone does not tell what is on its screen: {said.complaint}; phone.screenshot shows it"
        raise ToolFailed("no_accessibility", text, retryable=True)
    return parsed(said.stdout[start:])


def parsed(xml: bytes) -> list[Element]:
    """Return the elements in their order; raise ToolFailed `unreadable_screen` for what is no plain tree of nodes."""
    found: list[Element] = []
    depth = 0

    def forbidden(*_: object) -> None:
        raise _unreadable("it declares a document type or an entity")

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH_MAX or len(found) >= NODES_MAX:
            raise _unreadable(f"it is deeper than {DEPTH_MAX} or has more than {NODES_MAX} elements")
        if name == "node":
            found.append(_element(attributes))

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1

    if len(xml) > XML_BYTES_MAX:
        raise _unreadable(f"it has more than {XML_BYTES_MAX} bytes")
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = forbidden
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    try:
        parser.Parse(xml, True)
    except (expat.ExpatError, ValueError) as exc:
        raise _unreadable(str(exc)) from exc
    return found


def the_one(found: list[Element], *, text: str, identity: str) -> Element:
    """Return the element that is meant; raise ToolFailed not_found, ambiguous."""
    meant = [each for each in found if each.is_visible and _is_meant(each, text, identity)]
    meant = [each for each in meant if each.clickable] or meant
    places = {each.bounds for each in meant}
    asked = repr(text or identity)
    if not meant:
        raise ToolFailed("not_found", f"nothing on the screen is called {asked}; phone.screen tells what there is")
    if len(places) > 1:
        at = ", ".join(f"{x} {y}" for x, y in (each.centre for each in meant[:10]))
        raise ToolFailed("ambiguous", f"{len(meant)} things on the screen are called {asked}, at {at}: say x and y")
    return meant[0]


def _is_meant(element: Element, text: str, identity: str) -> bool:
    if identity:
        return identity in {element.id, element.id.rpartition("/")[2]}
    return text in {element.text, element.description}


def _element(attributes: dict[str, str]) -> Element:
    corners = _BOUNDS.fullmatch(attributes.get("bounds", ""))
    left, top, right, bottom = map(int, corners.groups()) if corners else (0, 0, 0, 0)

    def says(name: str) -> str:
        return attributes.get(name, "")[:_TEXT_CHARS_MAX]

    def is_true(name: str) -> bool:
        return attributes.get(name) == "true"

    return Element(
        bounds=(left, top, right, bottom),
        kind=says("class").rpartition(".")[2],
        text=says("text"),
        description=says("content-desc"),
        id=says("resource-id"),
        clickable=is_true("clickable"),
        checked=is_true("checked") if is_true("checkable") else None,
        disabled=attributes.get("enabled") == "false",
        focused=is_true("focused"),
        scrollable=is_true("scrollable"),
        password=is_true("password"),
    )


def _unreadable(why: str) -> ToolFailed:
    return ToolFailed("unreadable_screen", f"what the phone tells of its screen is not read: {why}"[:500])
