"""One example of each tool of the mobile's pack."""

from collections.abc import Callable
from typing import Any

from protocol.vocabulary import Effect

from ..bench import Bench
from ..examples import Example, a_file
from .stands import a_download, a_phone, an_app, stalled, with_a_phone

Arguments = Callable[[Bench], dict[str, Any]]
COUNTER = {"package": "com.galaxy.counter"}


def example(effect: Effect, works: Arguments, *, refused: Arguments | None = None) -> Example:
    """Return one of a tool that works on the phone, and waits for ever where the phone does."""
    return Example(
        effect,
        works=works,
        refused=refused,
        slow=lambda bench: works(bench) | stalled(bench),
        peer=a_phone,
        settings=with_a_phone,
    )


EXAMPLES: dict[str, Example] = {
    "phone.info": example(Effect.PURE, lambda bench: {}),
    "phone.screenshot": example(Effect.PURE, lambda bench: {}),
    "phone.screen": example(Effect.PURE, lambda bench: {}),
    "phone.tap": example(Effect.ONCE, lambda bench: {"text": "Notes"}),
    "phone.swipe": example(Effect.ONCE, lambda bench: {"x": 200, "y": 600, "to_x": 200, "to_y": 300}),
    "phone.type": example(Effect.ONCE, lambda bench: {"text": "hello"}),
    "phone.key": example(Effect.ONCE, lambda bench: {"key": "home"}),
    "phone.launch": example(Effect.ONCE, lambda bench: COUNTER, refused=lambda bench: {"package": "com.bank.app"}),
    "phone.stop": example(Effect.IDEMPOTENT, lambda bench: COUNTER, refused=lambda bench: {"package": "com.bank.app"}),
    "phone.install": example(Effect.ONCE, an_app),
    "phone.push": example(
        Effect.IDEMPOTENT,
        lambda bench: a_file(bench) | {"to": "/sdcard/Download/x"},
        refused=lambda bench: a_file(bench) | {"to": "/sdcard/Download/../../x"},
    ),
    "phone.pull": example(Effect.PURE, a_download, refused=lambda bench: {"path": "/data/data/com.bank/keys"}),
    "phone.notifications": example(Effect.PURE, lambda bench: {}),
    "phone.battery": example(Effect.PURE, lambda bench: {}),
}
