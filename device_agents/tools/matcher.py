"""Finds lines that match, in a process that can be killed: some patterns never come to an end on some lines.

Started as a file of its own, so it may import nothing of ours: `python -I -S matcher.py CPU_S`
It is told the pattern, `{"pattern": ..., "ignore_case": ..., "chars_max": ...}`, and answers `{}` or `{"error": ...}`.
Then for each file it is told `{"bytes": n, "matches_max": m}` and the n bytes, and answers `[[number, line], ...]`, or
null for what is no text. Each answer is one line.
"""

import json
import re
import resource
import sys

_MEMORY_BYTES_MAX = 256 << 20  # a pattern may also ask for too much of that
_LOOKED_AT = 8 << 10  # where a NUL says that a file is no text


def main(cpu_s: int) -> None:
    """Answer until nobody asks."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if sys.platform == "linux":  # elsewhere the limit is not heeded, or refused
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    order = json.loads(asked.readline())
    try:
        pattern = re.compile(order["pattern"], re.IGNORECASE if order["ignore_case"] else 0)
        answer: object = {}
    except (re.error, OverflowError, RecursionError, MemoryError) as exc:
        answer = {"error": str(exc) or type(exc).__name__}
    while True:
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
        question = asked.readline()
        if not question:
            return
        file = json.loads(question)
        answer = matches(pattern, asked.read(file["bytes"]), file["matches_max"], order["chars_max"])


def matches(pattern: re.Pattern[str], content: bytes, matches_max: int, chars_max: int) -> list[list[object]] | None:
    """Return the first lines that match, cut to a length, with their numbers; None for what is no text."""
    if b"\0" in content[:_LOOKED_AT]:
        return None
    found: list[list[object]] = []
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        if len(found) == matches_max:
            break
        if pattern.search(line):
            found.append([number, line.rstrip("\r")[:chars_max]])
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]))
