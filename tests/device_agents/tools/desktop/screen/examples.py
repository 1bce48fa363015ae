"""One example of each tool of screen."""

from ...examples import Example

EXAMPLES: dict[str, Example] = {}
