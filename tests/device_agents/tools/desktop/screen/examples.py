"""One example of each tool of the screen."""

from typing import Any

from protocol.vocabulary import Effect

from ...examples import Example
from .stands import a_desk, a_terminal, an_editor, lacking, node, on_the_desk

ON_THE_DESK: dict[str, Any] = {"peer": a_desk, "settings": on_the_desk, "needs": lacking}
AT_A_TERMINAL = ON_THE_DESK | {"peer": a_terminal}
IN_THE_EDITOR = ON_THE_DESK | {"peer": an_editor}

EXAMPLES: dict[str, Example] = {
    "window.list": Example(Effect.PURE, works=lambda bench: {}, **AT_A_TERMINAL),
    "window.focus": Example(Effect.INTERACTIVE, works=lambda bench: {"window": bench.peer.window}, **AT_A_TERMINAL),
    "screen.shot": Example(Effect.PURE, works=lambda bench: {}, **ON_THE_DESK),
    "screen.text": Example(Effect.PURE, works=lambda bench: {"window": bench.peer.window}, **AT_A_TERMINAL),
    "pointer.click": Example(
        Effect.INTERACTIVE, works=lambda bench: {"x": 20, "y": 30, "window": bench.peer.window}, **AT_A_TERMINAL
    ),
    "pointer.scroll": Example(
        Effect.INTERACTIVE,
        works=lambda bench: {"x": 20, "y": 30, "direction": "down", "window": bench.peer.window},
        **AT_A_TERMINAL,
    ),
    "keyboard.type": Example(
        Effect.INTERACTIVE, works=lambda bench: {"text": "a", "window": bench.peer.window}, **AT_A_TERMINAL
    ),
    "keyboard.press": Example(Effect.INTERACTIVE, works=lambda bench: {"keys": "enter"}, **AT_A_TERMINAL),
    "clipboard.read": Example(Effect.PURE, works=lambda bench: {}, **ON_THE_DESK),
    "clipboard.write": Example(Effect.IDEMPOTENT, works=lambda bench: {"text": "x"}, **ON_THE_DESK),
    "access.tree": Example(Effect.PURE, works=lambda bench: {"application": "mousepad"}, **IN_THE_EDITOR),
    "access.read": Example(Effect.PURE, works=lambda bench: {"node": node("text")}, **IN_THE_EDITOR),
    "access.set_text": Example(
        Effect.INTERACTIVE, works=lambda bench: {"node": node("text"), "text": "x"}, **IN_THE_EDITOR
    ),
    "access.press": Example(
        Effect.INTERACTIVE,
        works=lambda bench: {"node": node("menu item", "Select All", showing=False)},
        **IN_THE_EDITOR,
    ),
    "program.start": Example(
        Effect.INTERACTIVE,
        works=lambda bench: {"program": "terminal"},
        refused=lambda bench: {"program": "other"},
        slow=lambda bench: {"program": "pause", "wait_s": 60},
        **ON_THE_DESK,
    ),
    "program.stop": Example(Effect.IDEMPOTENT, works=lambda bench: {"id": "terminal:00000000"}, **ON_THE_DESK),
}
