"""Whose fault it was decides what happens next.

ProtocolError
├── LocalProtocolError    we tried to say what the protocol forbids: a bug here
└── RemoteProtocolError   the peer did: say why in a Bye, close that link, carry on
"""

from .vocabulary import ByeCode


class ProtocolError(Exception):
    """A breach of the protocol, by either end."""


class LocalProtocolError(ProtocolError):
    """Our own breach."""


class RemoteProtocolError(ProtocolError):
    """The peer's breach, with the code that the Bye carries."""

    def __init__(self, code: ByeCode, message: str) -> None:
        super().__init__(message)
        self.code = code
