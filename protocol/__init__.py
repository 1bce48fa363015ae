"""The wire between Galaxy and a device: the Agent Interaction Protocol, `aip.v1`.

vocabulary  words that both ends share: effect classes, failures, tools, limits
messages    the sentences, one frozen class each
states      who may say which sentence when (one table, binding both ends)
codec       sentences <-> one frame of bytes
session     one end of a conversation: no socket, no clock, no task
link        the one file that waits: it carries a session's frames over a socket
"""
