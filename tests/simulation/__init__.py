"""The simulator, and what it proves."""
