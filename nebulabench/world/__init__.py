"""The simulator: whole galaxies in one process and one thread, in virtual time, every choice from one seed.

The node's and the agents' real shells run over a loop, a network and disks of our own, with faults planned up front;
then judges look at the history. See docs/simulation.md.
"""
