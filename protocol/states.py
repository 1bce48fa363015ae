"""Who may say what when.

All that decides a transition is in this table. It does not know which role we play, so the same rules bind both
ends. The states are those of one socket; a session lives longer and goes through them on each socket anew.
"""

from enum import StrEnum

from .messages import (
    Accept,
    Assign,
    Bye,
    Challenge,
    Drain,
    Hello,
    Message,
    Profiled,
    Progress,
    Reconcile,
    Reject,
    Renew,
    Renewed,
    Report,
    Revoke,
    Sleep,
    Stopping,
    VitalsTold,
    Welcome,
)


class Role(StrEnum):
    """The two ends."""

    DEVICE = "device"
    GALAXY = "galaxy"


class State(StrEnum):
    """How far the conversation on this socket is."""

    NEW = "new"
    CHALLENGED = "challenged"
    GREETED = "greeted"
    OPEN = "open"
    CLOSED = "closed"


DEVICE, GALAXY = Role
NEW, CHALLENGED, GREETED, OPEN, CLOSED = State

TRANSITIONS: dict[State, dict[Role, dict[type[Message], State]]] = {
    NEW: {
        DEVICE: {Bye: CLOSED},
        GALAXY: {Challenge: CHALLENGED, Bye: CLOSED},
    },
    CHALLENGED: {
        DEVICE: {Hello: GREETED, Bye: CLOSED},
        GALAXY: {Bye: CLOSED},
    },
    GREETED: {
        DEVICE: {Bye: CLOSED},
        GALAXY: {Welcome: OPEN, Bye: CLOSED},
    },
    OPEN: {
        DEVICE: {
            Accept: OPEN,
            Reject: OPEN,
            Stopping: OPEN,
            Progress: OPEN,
            Report: OPEN,
            Profiled: OPEN,
            VitalsTold: OPEN,
            Sleep: OPEN,
            Drain: OPEN,
            Renew: OPEN,
            Bye: CLOSED,
        },
        GALAXY: {
            Assign: OPEN,
            Revoke: OPEN,
            Reconcile: OPEN,
            Drain: OPEN,
            Renewed: OPEN,
            Bye: CLOSED,
        },
    },
    CLOSED: {DEVICE: {}, GALAXY: {}},
}
