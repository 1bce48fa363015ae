"""What the core may refuse. One class for each decision a caller can make.

Refused
├── UnknownId         the thing named does not exist
├── Conflict          it exists, but not in the state that the caller assumed
│   ├── StaleRevision the edit was made against a revision that is no longer the last
│   ├── StaleAttempt  a device spoke about an attempt that is over or not its own
│   ├── StaleConsult  an answer to a question that is no longer open
│   └── OverBudget    a model's call might cost more than was granted
└── InvalidEdit       the change would break the constellation
    ├── NotGranted    it would use what the constellation was not granted
    └── NoProgress    planners have made the same edit for the same failure before
"""


class Refused(Exception):
    """An event that the core does not accept. Nothing changed."""


class UnknownId(Refused):
    """No such thing."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"no {what} {name!r}")


class Conflict(Refused):
    """The state is not what the caller assumed."""


class StaleRevision(Conflict):
    """Look again, and propose the edit against what is there now."""

    def __init__(self, constellation: str, revision: int) -> None:
        super().__init__(f"{constellation} is at revision {revision}")
        self.revision = revision


class StaleAttempt(Conflict):
    """The attempt is not held by the device that speaks of it."""

    def __init__(self, attempt: str, why: str) -> None:
        super().__init__(f"{attempt} {why}")


class InvalidEdit(Refused):
    """The change cannot be made; `place` is a JSON pointer into what was sent, as near as is known."""

    def __init__(self, message: str, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class NotGranted(InvalidEdit):
    """Nothing gains tools, devices or permissions by an edit."""


class NoProgress(InvalidEdit):
    """The same failure was answered with the same edit before, and it came back."""


class StaleConsult(Conflict):
    """The question was closed, or never asked."""

    def __init__(self, constellation: str, number: int) -> None:
        super().__init__(f"question {number} of {constellation} is not open")


class OverBudget(Conflict):
    """Another call of a model is not granted."""
