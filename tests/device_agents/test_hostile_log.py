"""What a stranger's words do in the agent's log."""

import subprocess
import sys

SAID = """
import logging
from device_agents.__main__ import LogLevel, _log_to_stderr

_log_to_stderr(LogLevel.INFO)
log = logging.getLogger("device_agents.test")
log.warning("no number", extra={"payload": "\\x1b]0;mine\\x07\\x1b[2J", "more": "a\\r\\nforged=1 \\u202e"})
log.warning("\\x9b31m and %s", "\\x1b[31m")
try:
    raise ValueError("\\x1b[2Jgone")
except ValueError:
    log.exception("a tool crashed")
"""


def test_a_strangers_words_steer_no_terminal_and_make_up_no_line():
    how = subprocess.run([sys.executable, "-c", SAID], capture_output=True, text=True, timeout=30, check=True)

    lines = how.stderr.splitlines()
    assert {character for character in how.stderr if not character.isprintable()} == {"\n"}
    assert r"payload=\x1b]0;mine\x07\x1b[2J" in lines[0]
    assert [line for line in lines if line.startswith("forged")] == []
    assert lines[-1] == r"ValueError: \x1b[2Jgone"
