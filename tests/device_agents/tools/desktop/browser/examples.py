"""One example of each tool of browser."""

from ...examples import Example

EXAMPLES: dict[str, Example] = {}
