"""The tools that type: text in any script, and chords such as ctrl+s."""

import secrets
import time
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ....errors import ToolFailed
from ....guard import Guard
from ... import wanted
from ...base import Context
from ...blocking import Stop
from .display import EXTRA, Screen, at_the_screen, check_input, display_name
from .keymap import Keymap, Keys, chord_of, keysym_of
from .locks import check_unlocked
from .presence import hands
from .settings import ScreenSettings
from .windows import WindowId, active, title_of

TEXT_CHARS_MAX = 5_000
_PIECE_CHARS = 40  # after which it is seen whether the right window still has the keyboard
_SEEN_S = 0.25  # that a program is given to see what its keys mean now, where it cannot be asked
_PONG_S = 3.0

OnlyIn = Annotated[WindowId | None, Meta(description="Fail, not_focused, unless this window has the keyboard.")]


class TypeArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is typed."""

    text: Annotated[
        str, Meta(min_length=1, max_length=TEXT_CHARS_MAX, description="Line ends are the Enter key, tabs the Tab key.")
    ]
    window: OnlyIn = None


class Typed(Struct, frozen=True):
    """That it was typed, and in which window; not what became of it there."""

    characters: int
    window: int | None
    title: str


class PressArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which keys."""

    keys: Annotated[str, Meta(max_length=40, description="A chord, as in ctrl+shift+s, escape, f5, page_down.")]
    times: Annotated[int, Meta(ge=1, le=100)] = 1
    window: OnlyIn = None


class _OnKeyboard:
    """What these tools share: the settings, and what they cannot do without."""

    effect: ClassVar[Effect] = Effect.INTERACTIVE
    Result: ClassVar[type[Struct]] = Typed

    def __init__(self, settings: ScreenSettings) -> None:
        self._settings = settings

    async def probe(self, guard: Guard) -> None:
        check_input(self._settings)
        await at_the_screen(self._settings, lambda screen, stop: check_xtest(screen))


class KeyboardType(_OnKeyboard):
    """Type text with the keyboard into the window that has it, in any script; see window.focus."""

    name: ClassVar[str] = "keyboard.type"
    limits: ClassVar[dict[str, int | float]] = {"characters": TEXT_CHARS_MAX}
    Arguments: ClassVar[type[Struct]] = TypeArguments

    async def run(self, arguments: TypeArguments, context: Context) -> Typed:
        check_input(self._settings)
        text = arguments.text.replace("\r\n", "\n")
        bad = [each for each in text if not each.isprintable() and each not in "\n\t\u200d\u00ad"]
        if bad:
            raise ToolFailed("bad_arguments", f"{bad[0]!r} is no character that can be typed")
        await check_unlocked(self._settings)
        name = display_name(self._settings)

        def work(screen: Screen, stop: Stop) -> Typed:
            check_xtest(screen)
            with hands(name).at_work(screen):
                return _Typing(screen, stop, arguments.window).typed(text)

        return await at_the_screen(self._settings, work, timeout_s=60)


class KeyboardPress(_OnKeyboard):
    """Press a key or a chord, once or several times, in the window that has the keyboard."""

    name: ClassVar[str] = "keyboard.press"
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = PressArguments

    async def run(self, arguments: PressArguments, context: Context) -> Typed:
        check_input(self._settings)
        modifiers, key = chord_of(arguments.keys)
        await check_unlocked(self._settings)
        name = display_name(self._settings)

        def work(screen: Screen, stop: Stop) -> Typed:
            check_xtest(screen)
            with hands(name).at_work(screen):
                return _Typing(screen, stop, arguments.window).pressed(modifiers, key, arguments.times)

        return await at_the_screen(self._settings, work)


def check_xtest(screen: Screen) -> None:
    if not screen.x.has_extension("XTEST"):
        raise ToolFailed("unavailable", "this X server lets nobody else use its keyboard: it has no XTEST")


class _Typing:
    """One call's typing."""

    def __init__(self, screen: Screen, stop: Stop, only_in: int | None) -> None:
        self._screen = screen
        self._stop = stop
        self._only_in = only_in
        self._keymap = Keymap(screen)
        if self._keymap.is_held:
            said = "a modifier key is held down, so that anything typed would mean something else; try again"
            raise ToolFailed("modifiers_held", said, retryable=True)
        self._keys = Keys(screen, self._keymap)
        self._done = 0

    def typed(self, text: str) -> Typed:
        window = self._target()
        if self._only_in is not None:
            self._check_grab()
        if self._keymap.caps_lock:
            self._keys.tap_caps_lock()
        try:
            spare = len(self._keymap.spare())
            for piece in _pieces(text, self._keymap, spare):
                self._type(piece)
        finally:
            self._keymap.restore()
            if self._keymap.caps_lock:
                self._keys.tap_caps_lock()
        return self._result(window)

    def pressed(self, modifiers: tuple[int, ...], key: int, times: int) -> Typed:
        window = self._target()
        strokes = [self._keymap.stroke(each, any_layout=True) for each in (*modifiers, key)]
        found = [each for each in strokes if each is not None]
        if len(found) < len(strokes):
            raise ToolFailed("no_such_key", "the keyboard that is connected has not all of these keys")
        for _ in range(times):
            self._stop.check()
            self._target()
            self._keys.tap(found[-1], tuple(found[:-1]))
            self._done += 1
        return self._result(window)

    def _type(self, piece: str) -> None:
        """Type as much as there are spare keys for. The program looks up what a key means when it hears of it, and no
        sooner: so the keys get their meaning before, and keep it until the program has heard of all of them.
        """
        window = self._target()
        missing = dict.fromkeys(each for each in map(keysym_of, piece) if self._keymap.stroke(each) is None)
        if self._keymap.lend(missing):
            self._settle(window)
        for at, character in enumerate(piece):
            self._stop.check()
            if at % _PIECE_CHARS == _PIECE_CHARS - 1:
                self._target()
            keysym = keysym_of(character)
            self._keys.tap(self._keymap.stroke(keysym) or self._keymap.lent(keysym))
            self._done += 1
        if missing:
            self._settle(window)

    def _target(self) -> int | None:
        window = active(self._screen)
        if self._only_in is not None and window != self._only_in:
            said = f"the window {self._only_in} has not the keyboard, {window} has; {self._done} keys were pressed"
            raise ToolFailed("not_focused", f"{said}. window.focus gives it", retryable=True)
        return window

    def _check_grab(self) -> None:
        """Raise ToolFailed if the keys would go elsewhere than to the window with the focus: to an open menu, say."""
        masks = wanted.library("Xlib.X", EXTRA)
        status = self._screen.root.grab_keyboard(True, masks.GrabModeAsync, masks.GrabModeAsync, masks.CurrentTime)
        if status == masks.GrabSuccess:
            self._screen.x.ungrab_keyboard(masks.CurrentTime)
            self._screen.x.sync()
        else:
            said = "an open menu, or another program, has taken the keyboard for itself: close it, as with escape"
            raise ToolFailed("keyboard_taken", said, retryable=True)

    def _settle(self, window: int | None) -> None:
        """Return once the window's program has seen all that the X server has told it so far; see _NET_WM_PING."""
        screen, masks = self._screen, wanted.library("Xlib.X", EXTRA)
        screen.x.sync()
        opened = screen.x.create_resource_object("window", window) if window else None
        ping = screen.atom("_NET_WM_PING")
        if opened is None or ping not in screen.values(opened, "WM_PROTOCOLS"):
            self._stop.wait(_SEEN_S)
            return
        screen.root.change_attributes(event_mask=masks.SubstructureNotifyMask)
        mark = secrets.randbits(31) | 1
        screen.tell(opened, "WM_PROTOCOLS", [ping, mark, window or 0], to=opened, mask=0)
        deadline = time.monotonic() + _PONG_S
        while (left := deadline - time.monotonic()) > 0:
            event: Any = screen.event(self._stop, left)
            if event is not None and event.type == masks.ClientMessage and list(event.data[1])[:2] == [ping, mark]:
                break
        else:
            said = f"the program of the window {window} does not answer; {self._done} characters were typed"
            raise ToolFailed("not_responding", said, retryable=True)
        screen.root.change_attributes(event_mask=0)

    def _result(self, window: int | None) -> Typed:
        return Typed(self._done, window, title_of(self._screen, window) if window else "")


def _pieces(text: str, keymap: Keymap, spare: int) -> list[str]:
    """Return the text in pieces that need no more different spare keys than there are; raise ToolFailed."""
    pieces, begun, needed = [], 0, set[int]()
    for at, character in enumerate(text):
        keysym = keysym_of(character)
        if keymap.stroke(keysym) is not None or keysym in needed:
            continue
        if not spare:
            raise ToolFailed("no_such_key", f"the keyboard has no {character!r}, and no key to spare for it")
        if len(needed) == spare:
            pieces.append(text[begun:at])
            begun, needed = at, set()
        needed.add(keysym)
    return [*pieces, text[begun:]]
