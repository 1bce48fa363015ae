"""One example of each tool of browser."""

from collections.abc import Callable
from typing import Any

from protocol.vocabulary import Effect

from ...bench import Bench
from ...examples import Example
from .stands import HOME, no_browser, pages


def example(effect: Effect, path: str, slow: bool = False, **more: Any) -> Example:
    """Return one that opens a page of the site; `slow` also one that never answers."""

    def at(where: str) -> Callable[[Bench], dict[str, Any]]:
        return lambda bench: {"url": bench.peer.url(where)} | more

    return Example(
        effect,
        works=at(path),
        policy=HOME,
        peer=pages,
        refused=lambda bench: {"url": "http://127.0.0.1/"} | more,
        slow=(lambda bench: {"url": bench.peer.url("/silence"), "timeout_s": 60} | more) if slow else None,
        needs=no_browser,
    )


EXAMPLES: dict[str, Example] = {
    "browser.open": example(Effect.IDEMPOTENT, "/", slow=True),
    "browser.read": example(Effect.PURE, "/"),
    "browser.click": example(Effect.ONCE, "/form", slow=True, element={"role": "button", "name": "Send"}),
    "browser.fill": example(Effect.IDEMPOTENT, "/form", fields=[{"label": "Name", "value": "Ada"}]),
    "browser.download": example(Effect.ONCE, "/files", element={"text": "Small"}),
    "browser.screenshot": example(Effect.PURE, "/"),
    "browser.pdf": example(Effect.PURE, "/"),
    "browser.close": Example(Effect.IDEMPOTENT, works=lambda bench: {"session": "s"}),
}
