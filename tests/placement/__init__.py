"""The bench of placement."""
