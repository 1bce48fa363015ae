"""The hands: the agent that runs on a device, and the tools it offers.

desk       what is on this device's desk: attempts, reports, revocations (sans-I/O)
work       runs one tool call within its limits
outbox     reports and the effect journal, on disk
guard      what this device allows, whoever asks
tools/     one file a family of tools
agent      dials, and joins the others together
"""
