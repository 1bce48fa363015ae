"""What every event has."""

from msgspec import Struct

from .edit import tag_of

FLEET = "~fleet"  # the stream of what happens to devices


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="kind", tag=tag_of):
    """A fact. `at` is in seconds since the epoch, by the composition root's clock."""

    at: float


class ConstellationEvent(Event, frozen=True, kw_only=True):
    """A fact about one constellation."""

    constellation: str
