"""The states of a star and of a constellation, and every legal move between them."""

from enum import StrEnum


class StarState(StrEnum):
    """How far a star is."""

    WAITING = "waiting"  # for lines that are not decided yet
    READY = "ready"  # to be leased as soon as a device is free
    LEASED = "leased"  # given to a device that has not said that it runs
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"  # a line that leads here can never hold, or a person said so
    CANCELLED = "cancelled"


WAITING, READY, LEASED, RUNNING, SUCCEEDED, FAILED, SKIPPED, CANCELLED = StarState

TERMINAL = frozenset({SUCCEEDED, FAILED, SKIPPED, CANCELLED})
NOT_STARTED = frozenset({WAITING, READY})
HELD_BY_DEVICE = frozenset({LEASED, RUNNING})

# A move that is not here is a bug, not a case.
TRANSITIONS: dict[StarState, frozenset[StarState]] = {
    WAITING: frozenset({READY, SKIPPED, CANCELLED}),
    READY: frozenset(
        {
            WAITING,  # an edit drew a new line to it
            LEASED,
            SUCCEEDED,  # a verification found that the effect of a lost attempt had happened
            FAILED,  # it waited too long, or its arguments cannot be had
            SKIPPED,
            CANCELLED,
        }
    ),
    LEASED: frozenset({RUNNING, READY, SUCCEEDED, FAILED, CANCELLED}),
    RUNNING: frozenset({READY, SUCCEEDED, FAILED, CANCELLED}),
    SUCCEEDED: frozenset(),
    FAILED: frozenset(),
    SKIPPED: frozenset(),
    CANCELLED: frozenset(),
}


class ConstellationState(StrEnum):
    """What a constellation as a whole is doing, or how it ended."""

    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"  # a device may still act
    SUCCEEDED = "succeeded"  # no star failed, or each failure was handled by a star behind a `failure` line
    FAILED = "failed"
    CANCELLED = "cancelled"
