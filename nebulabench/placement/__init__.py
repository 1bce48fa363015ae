"""Placement against its baselines, on random graphs and unlike fleets, in virtual time and on the real core.

instance   a fleet and graphs, from a seed
play       the real core runs them by a policy; nobody tells it how long anything takes
offline    HEFT that knows every duration, and the bound that nobody can pass
table      all seeds, all policies, in numbers
"""
