"""What an agent is made of."""

import os
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from protocol.link import Socket, dial
from protocol.vocabulary import Profile, Vitals

from .identity import Identity
from .outbox import Outbox
from .reconnect import Reconnect
from .shelf import Shelf
from .work import Bench


@dataclass(frozen=True, slots=True)
class Parts:
    """What an agent is made of; built in `__main__`."""

    identity: Identity
    profile: Profile
    bench: Bench
    shelf: Shelf
    outbox: Outbox
    reconnect: Reconnect
    now: Callable[[], float]
    dial: Callable[[str], Awaitable[Socket]] = dial
    new_id: Callable[[int], str] = secrets.token_hex  # of so many random bytes
    chance: Random = field(default_factory=Random)
    vitals: Callable[[], Vitals] | None = None  # may block for a moment
    leave: Callable[[int], object] = os._exit  # with calls that cannot be ended, no other way is left
