"""Which keys to press for a character or a key's name, as the keyboard is laid out just now."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from ....errors import ToolFailed
from ... import wanted
from .display import EXTRA, Screen

_UNICODE = 0x0100_0000  # added to a code point it is the keysym of a character that has no older one
_NAMED = {"\n": 0xFF0D, "\t": 0xFF09}
_CAPS_LOCK = 0xFFE5
_SHIFT_MASK, _LOCK_MASK = 1, 2
_HELD_MASK = _SHIFT_MASK | 4 | 8 | 64 | 128  # Control, Mod1, Mod4, Mod5; Mod2 is NumLock

MODIFIERS = {"ctrl": 0xFFE3, "shift": 0xFFE1, "alt": 0xFFE9, "super": 0xFFEB}
_SIGNS = {
    "space": " ",
    "plus": "+",
    "minus": "-",
    "equal": "=",
    "comma": ",",
    "period": ".",
    "slash": "/",
    "backslash": "\\",
    "semicolon": ";",
    "apostrophe": "'",
    "grave": "`",
    "bracket_left": "[",
    "bracket_right": "]",
}
KEYS = {
    **{f"f{number}": 0xFFBD + number for number in range(1, 13)},
    **{sign: ord(sign) for sign in "abcdefghijklmnopqrstuvwxyz0123456789"},
    **{name: ord(sign) for name, sign in _SIGNS.items()},
    "enter": 0xFF0D,
    "tab": 0xFF09,
    "escape": 0xFF1B,
    "backspace": 0xFF08,
    "delete": 0xFFFF,
    "insert": 0xFF63,
    "home": 0xFF50,
    "end": 0xFF57,
    "page_up": 0xFF55,
    "page_down": 0xFF56,
    "left": 0xFF51,
    "up": 0xFF52,
    "right": 0xFF53,
    "down": 0xFF54,
    "menu": 0xFF67,
}
# With Control and Alt these end the X server, restart the machine, or leave for a console.
_WITHHELD = {"backspace", "delete", *(f"f{number}" for number in range(1, 13))}


@dataclass(frozen=True, slots=True)
class Stroke:
    """A key, and whether Shift belongs to it."""

    keycode: int
    shift: bool = False


def chord_of(text: str) -> tuple[tuple[int, ...], int]:
    """Return the keysyms of the modifiers and of the key; raise ToolFailed bad_arguments, denied."""
    *modifiers, key = text.split("+")
    unknown = [name for name in modifiers if name not in MODIFIERS] + ([key] if key not in KEYS else [])
    if unknown or len(set(modifiers)) < len(modifiers):
        known = f"modifiers {', '.join(MODIFIERS)}, then one key: {', '.join(KEYS)}"
        raise ToolFailed("bad_arguments", f"{text[:100]!r} is no chord; it is written as in ctrl+s: {known}")
    if {"ctrl", "alt"} <= set(modifiers) and key in _WITHHELD:
        raise ToolFailed("denied", f"{text} can end the session or leave it; no setting in agent.toml allows it")
    return tuple(MODIFIERS[name] for name in modifiers), KEYS[key]


def keysym_of(character: str) -> int:
    code = ord(character)
    return _NAMED.get(character) or (code if 0x20 <= code <= 0x7E or 0xA0 <= code <= 0xFF else _UNICODE | code)


class Keymap:
    """The keyboard's layout, read once, and its spare keys, which may mean anything for a while."""

    def __init__(self, screen: Screen) -> None:
        setup = screen.x.display.info
        self._x = screen.x
        self._first: int = setup.min_keycode
        self._rows: list[Any] = list(screen.x.get_keyboard_mapping(self._first, setup.max_keycode - self._first + 1))
        mask = screen.root.query_pointer().mask
        self._column = (mask >> 13 & 3) * 2  # of the layout that is switched on; the core protocol has two
        self.caps_lock = bool(mask & _LOCK_MASK)
        self.is_held = bool(mask & _HELD_MASK)
        self._lent: dict[int, int] = {}  # keysyms, and the spare keys that mean them for a while

    def stroke(self, keysym: int, *, any_layout: bool = False) -> Stroke | None:
        """Return how the layout makes it without AltGr, None if it does not."""
        columns = [self._column, self._column + 1] if self._column < 4 else []
        for column in (*columns, *(range(4) if any_layout else ())):
            for at, row in enumerate(self._rows):
                if column < len(row) and row[column] == keysym:
                    return Stroke(self._first + at, bool(column % 2))
        return None

    def spare(self) -> list[int]:
        """Return the keycodes that mean nothing."""
        modifiers = {keycode for row in self._x.get_modifier_mapping() for keycode in row}
        empty = [self._first + at for at, row in enumerate(self._rows) if not any(row)]
        return [keycode for keycode in empty if keycode not in modifiers]

    def lend(self, keysyms: Collection[int]) -> bool:
        """Let spare keys mean these, in every layout and with Shift or without; return whether anything has changed.

        There must be enough of them. Each change costs a window manager some work: what is lent already stays so.
        """
        missing = [keysym for keysym in keysyms if keysym not in self._lent]
        idle = [keysym for keysym in self._lent if keysym not in keysyms]
        free = [keycode for keycode in self.spare() if keycode not in self._lent.values()]
        for keysym in missing:
            keycode = free.pop() if free else self._lent.pop(idle.pop())
            self._lent[keysym] = keycode
            self._x.change_keyboard_mapping(keycode, [[keysym] * 4])
        self._x.sync()
        return bool(missing)

    def lent(self, keysym: int) -> Stroke:
        return Stroke(self._lent[keysym])

    def restore(self) -> None:
        """Let the spare keys mean nothing again."""
        for keycode in self._lent.values():
            self._x.change_keyboard_mapping(keycode, [list(self._rows[keycode - self._first])])
        self._lent.clear()
        self._x.sync()


class Keys:
    """Presses keys by XTEST, and lets go of whatever it holds."""

    def __init__(self, screen: Screen, keymap: Keymap) -> None:
        self._screen = screen
        self._keymap = keymap
        self._masks = wanted.library("Xlib.X", EXTRA)
        self._shift = keymap.stroke(MODIFIERS["shift"], any_layout=True)

    def tap(self, stroke: Stroke, holding: tuple[Stroke, ...] = ()) -> None:
        held = [each.keycode for each in holding]
        if stroke.shift and self._shift and self._shift.keycode not in held:
            held.append(self._shift.keycode)
        pressed: list[int] = []
        try:
            for keycode in (*held, stroke.keycode):
                self._screen.x.xtest_fake_input(self._masks.KeyPress, keycode)
                pressed.append(keycode)
        finally:
            for keycode in reversed(pressed):
                self._screen.x.xtest_fake_input(self._masks.KeyRelease, keycode)
            self._screen.x.sync()

    def tap_caps_lock(self) -> None:
        stroke = self._keymap.stroke(_CAPS_LOCK, any_layout=True)
        if stroke:
            self.tap(stroke)
