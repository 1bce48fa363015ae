"""Which device for which star, and why not the others.

demand     what stars ask of devices, and which devices can do it: feasibility, with reasons
earliest   the policy that scores the feasible ones: the earliest start
ready      the queue of ready stars
placer     what is ready and what is free brought together, as events
"""
