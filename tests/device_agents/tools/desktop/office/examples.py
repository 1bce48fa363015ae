"""One example of each tool of office."""

from ...examples import Example

EXAMPLES: dict[str, Example] = {}
