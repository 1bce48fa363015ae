"""The fault matrix: real processes, a network that lies, and a verdict for each fault at each moment.

proxy      a TCP proxy between one device and the node, that delays, holds, swallows, cuts and resets
processes  a node and agents behind such proxies
faults     what can go wrong, and how it ends
moments    when it goes wrong: how a run is brought to exactly that point
matrix     the cells that make sense, and why the others do not
run        one cell, one verdict; the whole matrix on two clusters
"""
