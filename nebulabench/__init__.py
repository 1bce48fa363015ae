"""The judge: it runs real galaxies, measures and breaks them, and checks what they promise.

dispatch   how fast stars go through a node and real agents
soak       kills processes at random and counts effects
"""
