"""Planners: a goal and a fleet in, a constellation out; facts in, an edit out. All that waits for a model is here."""
