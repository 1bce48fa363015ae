"""The clipboard. What is written there belongs to the agent until another program writes to it, or the agent ends.

X has no place where a clipboard's text is kept: its owner hands it out whenever somebody pastes. So each writing leaves
a thread with a connection of its own, which ends as soon as the clipboard is another's; there is never more than one
that lasts. No process is left: xclip would stay behind, and outlive the agent.
"""

import threading
import time
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ....errors import ToolFailed
from ....guard import Guard
from ... import wanted
from ...base import ArtifactRef, Context
from ...blocking import Stop
from ...spool import INLINE_BYTES_MAX, Spool
from .display import EXTRA, Screen, at_the_screen, check_clipboard, check_screen, display_name
from .settings import ScreenSettings

WRITE_BYTES_MAX = 200_000  # what one property holds, without INCR and without big requests, is a little more
READ_BYTES_MAX = 4 << 20
_ANSWER_S = 3.0
_TEXTS = ("UTF8_STRING", "text/plain;charset=utf-8", "TEXT")


class ReadArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Nothing is to be said."""


class Read(Struct, frozen=True, omit_defaults=True):
    """The text, cut where it is too long; then all of it is the artifact. Some program put it there: it is data."""

    text: str
    bytes: int
    artifact: ArtifactRef | None = None


class WriteArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is put there."""

    text: Annotated[str, Meta(max_length=WRITE_BYTES_MAX)]


class Written(Struct, frozen=True):
    """It can be pasted now, until another program puts something there, or the agent ends."""

    bytes: int


class _OnClipboard:
    """What these tools share: the settings, and what they cannot do without."""

    limits: ClassVar[dict[str, int | float]] = {"read_bytes": READ_BYTES_MAX, "write_bytes": WRITE_BYTES_MAX}

    def __init__(self, settings: ScreenSettings) -> None:
        self._settings = settings

    async def probe(self, guard: Guard) -> None:
        check_clipboard(self._settings)
        await check_screen(self._settings)


class ClipboardRead(_OnClipboard):
    """Read the text in the clipboard; it is empty where there is none."""

    name: ClassVar[str] = "clipboard.read"
    effect: ClassVar[Effect] = Effect.PURE
    Arguments: ClassVar[type[Struct]] = ReadArguments
    Result: ClassVar[type[Struct]] = Read

    async def run(self, arguments: ReadArguments, context: Context) -> Read:
        check_clipboard(self._settings)
        found = await at_the_screen(self._settings, _pasted)
        spool = Spool(context.scratch / "clipboard")
        await spool.write(found)
        text = spool.text(INLINE_BYTES_MAX)
        whole = spool.is_said_by(text)
        return Read(text, len(found), None if whole else await spool.artifact(context.shelf, "text/plain"))


class ClipboardWrite(_OnClipboard):
    """Put text into the clipboard, in place of what is there."""

    name: ClassVar[str] = "clipboard.write"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    Arguments: ClassVar[type[Struct]] = WriteArguments
    Result: ClassVar[type[Struct]] = Written

    async def run(self, arguments: WriteArguments, context: Context) -> Written:
        check_clipboard(self._settings)
        text = arguments.text.encode()
        if len(text) > WRITE_BYTES_MAX:
            raise ToolFailed("too_large", f"{len(text)} bytes are more than {WRITE_BYTES_MAX}")
        name = display_name(self._settings)
        await at_the_screen(self._settings, lambda screen, stop: _own(name, text))
        return Written(len(text))


def _own(name: str, text: bytes) -> None:
    screen = Screen(name)
    try:
        owner = _Owner(screen, text)
    except BaseException:
        screen.close()
        raise
    threading.Thread(target=owner.serve, name="clipboard", daemon=True).start()


class _Owner:
    """Hands out one text on a connection of its own, for as long as the clipboard is its."""

    def __init__(self, screen: Screen, text: bytes) -> None:
        self._screen = screen
        self._text = text
        self._masks = wanted.library("Xlib.X", EXTRA)
        self._errors = wanted.library("Xlib.error", EXTRA)
        self._event = wanted.library("Xlib.protocol.event", EXTRA)
        self._window = screen.root.create_window(0, 0, 1, 1, 0, self._masks.CopyFromParent)
        self._since = _server_time(screen, self._window)
        self._clipboard = screen.atom("CLIPBOARD")
        self._window.set_selection_owner(self._clipboard, self._since)
        if screen.x.get_selection_owner(self._clipboard) != self._window:
            raise ToolFailed("unavailable", "another program took the clipboard meanwhile", retryable=True)
        self._texts = {screen.atom(each) for each in _TEXTS}

    def serve(self) -> None:
        """Answer whoever pastes, until somebody else owns the clipboard or the X server is gone."""
        try:
            while True:
                event = self._screen.x.next_event()
                if event.type == self._masks.SelectionClear:
                    break
                if event.type == self._masks.SelectionRequest:
                    self._answer(event)
        except (self._errors.ConnectionClosedError, OSError):
            pass  # the session has ended, and its clipboard with it
        finally:
            self._screen.close()

    def _answer(self, asked: Any) -> None:
        where = asked.property or asked.target  # programs of old say none
        try:
            done = self._put(asked.requestor, where, asked.target)
            told = self._event.SelectionNotify(
                time=asked.time,
                requestor=asked.requestor,
                selection=asked.selection,
                target=asked.target,
                property=where if done else 0,
            )
            asked.requestor.send_event(told)
            self._screen.x.flush()
        except self._errors.XError:
            pass  # it has gone since

    def _put(self, window: Any, where: int, target: int) -> bool:
        atom = self._screen.atom
        if target in self._texts:
            kind = atom("UTF8_STRING") if target == atom("TEXT") else target
            window.change_property(where, kind, 8, self._text)
        elif target == atom("STRING"):
            window.change_property(where, target, 8, self._text.decode().encode("latin-1", "replace"))
        elif target == atom("TARGETS"):
            offered = [atom("TARGETS"), atom("TIMESTAMP"), *self._texts, atom("STRING")]
            window.change_property(where, atom("ATOM"), 32, offered)
        elif target == atom("TIMESTAMP"):
            window.change_property(where, atom("INTEGER"), 32, [self._since])
        else:
            return False
        return True


def _server_time(screen: Screen, window: Any) -> int:
    """Return the time as the X server tells it: an owner has to say since when it is one."""
    masks = wanted.library("Xlib.X", EXTRA)
    window.change_attributes(event_mask=masks.PropertyChangeMask)
    window.change_property(screen.atom("GALAXY_TIME"), screen.atom("STRING"), 8, b"")
    event = screen.event(Stop(), _ANSWER_S)
    while event is not None and event.type != masks.PropertyNotify:
        event = screen.event(Stop(), _ANSWER_S)
    if event is None:
        raise ToolFailed("unavailable", "the X server does not tell the time", retryable=True)
    return int(event.time)


def _pasted(screen: Screen, stop: Stop) -> bytes:
    """Return the clipboard's text as UTF-8; raise ToolFailed no_text, too_large, not_responding."""
    masks = wanted.library("Xlib.X", EXTRA)
    clipboard = screen.atom("CLIPBOARD")
    if not screen.x.get_selection_owner(clipboard):
        return b""
    window = screen.root.create_window(0, 0, 1, 1, 0, masks.CopyFromParent, event_mask=masks.PropertyChangeMask)
    where = screen.atom("GALAXY_PASTE")
    for kind in ("UTF8_STRING", "STRING"):
        window.convert_selection(clipboard, screen.atom(kind), where, masks.CurrentTime)
        event = _awaited(screen, stop, masks.SelectionNotify)
        if event.property:
            found = _arrived(screen, stop, window, where)
            return found if kind == "UTF8_STRING" else found.decode("latin-1").encode()
    raise ToolFailed("no_text", "there is something in the clipboard, but no text")


def _arrived(screen: Screen, stop: Stop, window: Any, where: int) -> bytes:
    masks = wanted.library("Xlib.X", EXTRA)
    kind, piece = _taken(screen, window, where)
    if kind != screen.atom("INCR"):
        return piece
    found = bytearray()  # its owner puts one piece after the other there, whenever the last one was taken
    while True:
        event = _awaited(screen, stop, masks.PropertyNotify)
        if event.atom != where or event.state != masks.PropertyNewValue:
            continue
        _, piece = _taken(screen, window, where)
        if not piece:
            return bytes(found)
        found += piece
        if len(found) > READ_BYTES_MAX:
            raise ToolFailed("too_large", f"the clipboard holds more than {READ_BYTES_MAX} bytes")


def _taken(screen: Screen, window: Any, where: int) -> tuple[int, bytes]:
    """Return the type and the bytes of the property, and remove it, which asks for the next."""
    found = window.get_property(where, 0, 0, READ_BYTES_MAX // 4)
    if found is None:
        return 0, b""
    if found.bytes_after:
        raise ToolFailed("too_large", f"the clipboard holds more than {READ_BYTES_MAX} bytes")
    window.delete_property(where)
    screen.x.flush()
    value = found.value
    return int(found.property_type), bytes(value) if isinstance(value, bytes) else b""


def _awaited(screen: Screen, stop: Stop, kind: int) -> Any:
    deadline = time.monotonic() + _ANSWER_S
    while (left := deadline - time.monotonic()) > 0:
        event = screen.event(stop, left)
        if event is not None and event.type == kind:
            return event
    raise ToolFailed("not_responding", "the program that owns the clipboard does not answer", retryable=True)
