"""Planners: what they make of goals and facts."""
