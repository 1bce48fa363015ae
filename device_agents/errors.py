"""How a tool call fails, for whoever asked for it.

ToolFailed   a reason that the tool or the guard knows: a code, words, and whether another try may work
"""

from protocol.vocabulary import TEXT_CHARS_MAX, Failure


class ToolFailed(Exception):
    """A tool call did not work, for a reason that the tool knows. Never a crash of the agent."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        # A file name may hold bytes that are no text, and those have no place in a message on the wire.
        text = message.encode("utf-8", "replace").decode()
        self.failure = Failure(code, text[:TEXT_CHARS_MAX], retryable)
