"""How a call names one element of a page, and how that is found."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from ....errors import ToolFailed
from ... import wanted
from .session import Session

_APPEARS_S = 5.0
Words = Annotated[str, Meta(min_length=1, max_length=500)]


class Element(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One element: by exactly one of ref, role, label, text and selector."""

    ref: (
        Annotated[str, Meta(pattern="^(f[0-9]{1,6})?e[0-9]{1,9}$", description="From browser.read, as e12.")] | None
    ) = None
    role: Annotated[str, Meta(pattern="^[a-z]{1,30}$", description="An ARIA role: button, link, textbox.")] | None = (
        None
    )
    name: Annotated[str, Meta(max_length=500, description="Its accessible name, beside the role.")] | None = None
    label: Annotated[Words, Meta(description="The label of a field.")] | None = None
    text: Annotated[Words, Meta(description="A text that it holds.")] | None = None
    selector: Annotated[Words, Meta(description="CSS.")] | None = None
    exact: Annotated[bool, Meta(description="Whether name, label or text is all of it, letter by letter.")] = False
    nth: Annotated[int, Meta(ge=0, le=999, description="Which one, if there are several.")] | None = None

    def __str__(self) -> str:
        if self.role is not None:
            return f"{self.role} {self.name!r}" if self.name else self.role
        kind = next(each for each in _WAYS if getattr(self, each) is not None)
        return f"{kind} {getattr(self, kind)!r}"[:200]


_WAYS = ("ref", "role", "label", "text", "selector")


def check(element: Element) -> None:
    """Raise ToolFailed bad_arguments unless it is named in one way."""
    if sum(getattr(element, way) is not None for way in _WAYS) != 1:
        raise ToolFailed("bad_arguments", f"name an element by exactly one of {', '.join(_WAYS)}")


async def located(element: Element, session: Session, page: Any) -> Any:
    """Return Playwright's locator of it; raise ToolFailed: element_not_found, ambiguous."""
    match element:
        case Element(ref=str(ref)):
            found = page.locator(f"aria-ref={ref}")
        case Element(role=str(role)):
            found = page.get_by_role(role, name=element.name, exact=element.exact)
        case Element(label=str(label)):
            found = page.get_by_label(label, exact=element.exact)
        case Element(text=str(text)):
            found = page.get_by_text(text, exact=element.exact)
        case _:
            found = page.locator(f"css={element.selector}")
    library = wanted.library("playwright.async_api", "desktop")
    with session.heard(f"looking for {element}"):
        try:
            await found.nth(element.nth or 0).wait_for(state="attached", timeout=session.left_ms(_APPEARS_S))
        except library.TimeoutError as exc:
            said = f"the page has no {element}; browser.read shows what it has"
            raise ToolFailed("element_not_found", said, retryable=True) from exc
        if element.nth is None and (number := await found.count()) > 1:
            raise ToolFailed("ambiguous", f"{number} elements are {element}: say which by `nth`, `exact` or a ref")
    return found.nth(element.nth or 0)
