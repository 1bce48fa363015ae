"""The command `galaxy`: serve a node, and talk to one."""
