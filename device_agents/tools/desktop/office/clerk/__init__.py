"""The clerk: reads and writes office files in a process of its own, with its own limits of time and memory.

Files are made by strangers, and libraries that read them may hang, or take all memory. A thread cannot be stopped; a
process can. So nothing here is imported by the agent, and nothing of the agent is imported here: `desk.main` is started
with a request in a file, and leaves its answer in another.
"""
