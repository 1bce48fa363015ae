"""One try of a star: its id, whose number fences off every earlier try, and how it went."""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from protocol.vocabulary import Effect, Failure


class Candidate(Struct, frozen=True, gc=False, array_like=True):
    """A device that could have taken a star: how full it was, and what the star would have cost there, in seconds."""

    device: str
    starts_in_s: float
    held: int
    slots: int
    runs_s: float = 0.0
    moves_s: float = 0.0  # until its inputs are there
    behind_s: float = 0.0  # what is behind the star, from there on at best
    burden_s: float = 0.0  # by which the run counts as longer, for what speaks against the device
    burden: str = ""  # what that is


class AttemptId(NamedTuple):
    """`number` is the fencing token: it only grows, so a late report cannot pass for a new one."""

    constellation: str
    star: str
    number: int

    def __str__(self) -> str:
        return f"{self.constellation}/{self.star}#{self.number}"

    @classmethod
    def parse(cls, text: str) -> "AttemptId":
        """Return the id written as `constellation/star#number`; raise ValueError."""
        path, _, number = text.rpartition("#")
        constellation, _, star = path.partition("/")
        if not (constellation and star):
            raise ValueError(f"{text!r} is not an attempt's id")
        return cls(constellation, star, int(number))


class Purpose(StrEnum):
    """Why an attempt was made."""

    RUN = "run"
    VERIFY = "verify"  # to learn whether an earlier attempt's effect happened


class LeaseEnd(StrEnum):
    """How a lease ended without a report from its holder."""

    NOT_STARTED = "not_started"  # the device came back and has never begun it
    REJECTED = "rejected"  # the device would not begin it
    LOST = "lost"  # the device has been gone for too long
    OVERRAN = "overran"  # the device is there, but silent about the attempt past its time
    UNCONFIRMED = "unconfirmed"  # told to stop, it has not said that it did; another attempt had won
    REVOKED = "revoked"  # the device may no longer take part


class Attempt(Struct, omit_defaults=True, gc=False):
    """What is known of one attempt. `effect` is what held when it was leased."""

    number: int
    device: str
    effect: Effect
    leased_at: float
    purpose: Purpose = Purpose.RUN
    accepted_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""  # of the report, or how the lease ended
    failure: Failure | None = None
    ran_s: float = 0.0
    note: str = ""  # the last progress
    fraction: float | None = None
    beside: int = 0  # the attempt that it is a second one to: a substitute, or a hedge
    stopping: str = ""  # why it was revoked
    stopping_at: float | None = None  # when the device said that it stops it
    unconfirmed: bool = False  # told to stop and silent about it, it may still act
    late: str = ""  # what the device said of it after its end
    candidates: tuple[Candidate, ...] = ()  # why this device: the best first
    refused: dict[str, str] = {}  # why not the others
    tools: tuple[str, ...] = ()  # that an instruction which names none was given, by its words
