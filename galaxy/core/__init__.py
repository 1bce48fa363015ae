"""The decisions of the galaxy: pure, synchronous, deterministic.

Nothing in this package reads a clock, draws a random number, opens a socket or awaits. Time arrives as the `at` of an
event, identity as an id, and what the core decides leaves it as events to record and orders to carry out.

orchestrator   events in, orders out; what follows by itself
constellation  one constellation: its stars, their courses, its lines; a function of its own stream
edit           a batch of changes, whole or refused
fleet          devices, their keys and presence, join tokens
placement/     which device for which star, and why
"""
