"""One example of each tool of mobile."""

from ..examples import Example

EXAMPLES: dict[str, Example] = {}
