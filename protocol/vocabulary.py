"""Words that both ends of the wire share, and the limits they agree on."""

import re
from enum import StrEnum

from msgspec import Raw, Struct

SUBPROTOCOL = "aip.v1"
VERSION = 1

FRAME_BYTES_MAX = 1 << 20
RESULT_INLINE_BYTES_MAX = 64 << 10  # a larger result travels as an artifact
TEXT_CHARS_MAX = 2_000  # of a failure's or a note's words; the rest is cut where it is made

NOTHING = Raw(b"null")
ARTIFACT = "$artifact"  # the key that makes a JSON object stand for bytes kept by Galaxy: their SHA-256

# Names of stars, constellations, devices and labels: they stand in paths, attempt ids and file names.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,79}")


class Kind(StrEnum):
    """What sort of machine a device is."""

    DESKTOP = "desktop"
    SERVER = "server"
    MOBILE = "mobile"
    EDGE = "edge"


class Effect(StrEnum):
    """What running a tool call again would do to the world; it decides what may be retried or moved."""

    PURE = "pure"  # looks, changes nothing
    IDEMPOTENT = "idempotent"  # twice is the same as once
    ONCE = "once"  # twice is wrong
    INTERACTIVE = "interactive"  # a person is in the loop: never repeated without asking


class Outcome(StrEnum):
    """How an attempt ended, as the device says it."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"  # stopped because Galaxy revoked it
    UNKNOWN = "unknown"  # begun, cut off, and nobody can tell whether the effect happened


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why something did not work, for programs (`code`) and for people (`message`)."""

    code: str
    message: str
    retryable: bool = False  # the same call may work at another time or place


class ToolSpec(Struct, frozen=True, omit_defaults=True):
    """Something a device can do. `arguments` and `result` are JSON Schemas."""

    name: str
    description: str
    effect: Effect
    arguments: Raw
    result: Raw
    limits: dict[str, int | float] = {}


class Profile(Struct, frozen=True, omit_defaults=True):
    """What a device says it is and can do. `withdrawn` are tools that do not work just now, with the cause of each."""

    kind: Kind
    slots: int
    tools: tuple[ToolSpec, ...]
    labels: dict[str, str] = {}
    agent: str = ""  # name and version of the agent's software
    withdrawn: dict[str, str] = {}


class Vitals(Struct, frozen=True, omit_defaults=True):
    """How a device is just now. What it does not know, or may not tell, is left out."""

    load: float | None = None  # processes that want a processor, for each processor
    memory_free: float | None = None  # of 1
    disk_free_bytes: int | None = None  # where the work folder is
    battery: float | None = None  # of 1; None: it has none
    charging: bool | None = None
    metered: bool | None = None  # its network costs by the byte
    temperature_c: float | None = None
    in_use: bool | None = None  # a person is at it
    locked: bool | None = None  # its screen is
    link_bytes_per_s: float | None = None  # measured where artifacts were moved


class Holding(StrEnum):
    """In what way a device still holds an attempt when it comes back."""

    RUNNING = "running"
    FINISHED = "finished"  # its report follows, from the outbox
    INTENT = "intent"  # begun and cut off by a crash; the report of its unknown outcome follows


class Held(Struct, frozen=True):
    """An attempt that a device still answers for."""

    attempt: str
    holding: Holding


class Verdict(StrEnum):
    """What becomes of an attempt that a device holds when it comes back."""

    ADOPT = "adopt"  # Galaxy did not know that it had begun; go on
    CONTINUE = "continue"  # as before
    STOP = "stop"  # it is to end: stop it and report how
    SUPERSEDED = "superseded"  # the star has gone on without it: stop it; what it reports is kept as late


class ByeCode(StrEnum):
    """Why a link is closed; the first five are the peer's fault."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    OUT_OF_TURN = "out_of_turn"
    VERSION = "version"
    UNAUTHENTICATED = "unauthenticated"
    SILENT = "silent"
    REPLACED = "replaced"  # the same device has dialled again
    REVOKED = "revoked"
    OVERLOADED = "overloaded"
    STOPPING = "stopping"
