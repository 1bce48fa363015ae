"""The tools that touch the phone: taps, swipes, text and keys. They want `touch = true` of the phone's owner."""

import re
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ..base import Context
from .dumps import unlocked
from .line import Line, command, on_phone
from .look import OnPhone
from .tree import elements, the_one

TEXT_CHARS_MAX = 2_000
_AT_ONCE_CHARS = 200
_BREAKS = {"\n": "ENTER", "\t": "TAB"}
# Android's `input text` makes %s a space and knows no way to say it otherwise: such a text is sent in two parts.
_PARTS = re.compile(r"[\n\t]|(?:%(?!s)|[^\n\t%])+%?|%")

Coordinate = Annotated[int, Meta(ge=0, le=20_000, description="In pixels of the screen.")]
Name = Annotated[str, Meta(min_length=1, max_length=300)]
Key = Literal[
    "home", "back", "enter", "tab", "escape", "menu", "app_switch", "wakeup", "sleep", "page_up", "page_down",
    "volume_up", "volume_down", "volume_mute", "up", "down", "left", "right", "delete", "delete_forward",
    "play_pause", "next", "previous",
]  # fmt: skip
_CODES = {  # Android's names, where they are others
    **{name: f"DPAD_{name.upper()}" for name in ("up", "down", "left", "right")},
    **{name: f"MEDIA_{name.upper()}" for name in ("play_pause", "next", "previous")},
    "delete": "DEL",
    "delete_forward": "FORWARD_DEL",
}
_WHEN_LOCKED = {"wakeup", "sleep"}


class Touched(Struct, frozen=True):
    """It was done; what came of it, phone.screen and phone.screenshot tell."""


class TapArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is tapped: `x` and `y`, or `text`, or `id`."""

    x: Coordinate | None = None
    y: Coordinate | None = None
    text: Annotated[Name, Meta(description="The whole text or description of an element.")] | None = None
    id: Annotated[Name, Meta(description="An element's id, whole or what stands behind its last /.")] | None = None


class Tapped(Struct, frozen=True):
    """Where it was tapped; what came of it, phone.screen and phone.screenshot tell."""

    x: int
    y: int


class _Touching(OnPhone):
    def check_allowed(self) -> None:
        if not self._settings.touch:
            raise ToolFailed("denied", "the phone may not be touched; mobile.touch = true in agent.toml would allow it")


class PhoneTap(_Touching):
    """Tap the phone's screen at a point, or in the middle of the element with a text or an id."""

    name: ClassVar[str] = "phone.tap"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = TapArguments
    Result: ClassVar[type[Struct]] = Tapped

    async def run(self, arguments: TapArguments, context: Context) -> Tapped:
        self.check_allowed()
        x, y, text, identity = arguments.x, arguments.y, arguments.text, arguments.id
        if [x is not None and y is not None, text is not None, identity is not None].count(True) != 1 or (
            (x is None) != (y is None)
        ):
            raise ToolFailed("bad_arguments", "say one of: x and y; text; id")

        def tapped(line: Line) -> Tapped:
            unlocked(line)
            if x is not None and y is not None:
                at = x, y
            else:
                at = the_one(elements(line), text=text or "", identity=identity or "").centre
            done(line, "input", "tap", str(at[0]), str(at[1]))
            return Tapped(*at)

        return await on_phone(self._settings, tapped)


class SwipeArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """From where to where, and how slowly."""

    x: Coordinate
    y: Coordinate
    to_x: Coordinate
    to_y: Coordinate
    for_ms: Annotated[int, Meta(ge=1, le=10_000, description="Long and without a way is a long press.")] = 300


class PhoneSwipe(_Touching):
    """Swipe a finger over the phone's screen, to scroll or drag; the content follows the finger."""

    name: ClassVar[str] = "phone.swipe"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = SwipeArguments
    Result: ClassVar[type[Struct]] = Touched

    async def run(self, arguments: SwipeArguments, context: Context) -> Touched:
        self.check_allowed()
        way = arguments.x, arguments.y, arguments.to_x, arguments.to_y, arguments.for_ms

        def swiped(line: Line) -> Touched:
            unlocked(line)
            done(line, "input", "swipe", *map(str, way))
            return Touched()

        return await on_phone(self._settings, swiped)


class TypeArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is typed."""

    text: Annotated[str, Meta(min_length=1, max_length=TEXT_CHARS_MAX, description="Printable ASCII, \\n and \\t.")]


class PhoneType(_Touching):
    """Type text into the field of the phone that has the focus: tap it first. Only ASCII can be typed."""

    name: ClassVar[str] = "phone.type"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = TypeArguments
    Result: ClassVar[type[Struct]] = Touched

    async def run(self, arguments: TypeArguments, context: Context) -> Touched:
        self.check_allowed()
        odd = [each for each in arguments.text if each not in _BREAKS and not " " <= each <= "~"]
        if odd:
            said = f"{odd[0]!r} cannot be typed: Android's `input text` takes printable ASCII only"
            raise ToolFailed("bad_arguments", said)

        def typed(line: Line) -> Touched:
            unlocked(line)
            for part in parts(arguments.text):
                if part in _BREAKS:
                    done(line, "input", "keyevent", _BREAKS[part])
                else:
                    done(line, "input", "text", part.replace(" ", "%s"))
            return Touched()

        return await on_phone(self._settings, typed)


def parts(text: str) -> list[str]:
    """Return the text in parts that Android types as they are, and the keys between them."""
    found = []
    for part in _PARTS.findall(text):
        found += [part[start : start + _AT_ONCE_CHARS] for start in range(0, len(part), _AT_ONCE_CHARS)]
    return found


class KeyArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which key, and how often."""

    key: Key
    times: Annotated[int, Meta(ge=1, le=50)] = 1


class PhoneKey(_Touching):
    """Press a key of the phone: home, back, enter, delete, arrows, volume and the like; not the power key."""

    name: ClassVar[str] = "phone.key"
    effect: ClassVar[Effect] = Effect.ONCE
    Arguments: ClassVar[type[Struct]] = KeyArguments
    Result: ClassVar[type[Struct]] = Touched

    async def run(self, arguments: KeyArguments, context: Context) -> Touched:
        self.check_allowed()

        def pressed(line: Line) -> Touched:
            if arguments.key not in _WHEN_LOCKED:
                unlocked(line)
            done(line, "input", "keyevent", *[_CODES.get(arguments.key, arguments.key.upper())] * arguments.times)
            return Touched()

        return await on_phone(self._settings, pressed)


def done(line: Line, *words: str) -> None:
    """Have the phone do it; raise ToolFailed `refused_by_phone`, which is final: some of it may have happened."""
    said = line.act(command(*words))
    if said.code != 0:
        raise ToolFailed("refused_by_phone", f"`{words[0]} {words[1]}` fails on the phone: {said.complaint}"[:500])
