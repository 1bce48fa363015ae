"""The bench of real processes: its parts, each by itself."""
