"""What Galaxy is told that this device can do just now: its profile, less what does not work, and what is taken up."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from protocol.messages import Message, Profiled
from protocol.vocabulary import Profile

from .desk import Desk
from .health import Health
from .ledger import Ledger

TELL_AFTER_S = 0.2  # tools that come and go together are told of together


class Offering:
    """The profile as it is, and as it was last said. `say` says it, if there is a session to say it in."""

    def __init__(
        self, whole: Profile, desk: Desk, ledger: Ledger, health: Health, say: Callable[[Message], bool]
    ) -> None:
        self._whole = whole
        self._desk = desk
        self._ledger = ledger
        self._health = health
        self._say = say
        self._said = whole
        self._due = False

    def greet(self) -> Profile:
        """Return the profile for a greeting."""
        self._said = self._profile()
        return self._said

    def changed(self) -> None:
        """Take no more calls of what does not work, and say so in a moment."""
        self._desk.withdrawn = self._profile().withdrawn
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(TELL_AFTER_S, self.tell)

    def tell(self) -> None:
        """Say what has changed since it was last said."""
        self._due = False
        profile = self._profile()
        if profile != self._said and self._say(Profiled(profile)):
            self._said = profile

    def _profile(self) -> Profile:
        withdrawn = dict(self._health.withdrawn)
        if self._ledger.trouble:
            cause = f"the outbox cannot be written: {self._ledger.trouble}"
            withdrawn = {tool.name: cause for tool in self._whole.tools}
        slots = max(0, self._whole.slots - len(self._desk.stuck))
        return replace(self._whole, slots=slots, withdrawn=withdrawn)
