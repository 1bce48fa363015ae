"""Runs one program, and lets nothing that it started outlive it, the order to stop, or the agent.

Started as a file of its own, so it may import nothing of ours:
`python -I -S keeper.py LINE GRACE_S EXECUTABLE NAME ARGUMENT...`

LINE is one end of a socket pair. When a number is said there, every descendant gets SIGTERM and, so many seconds later,
SIGKILL; a later number may only shorten that. When the other end is closed (the agent is dead: kill -9 included) it is
as if GRACE_S had been said, and so for what is left when the program itself has ended. Then the keeper says how that
was, `exit 3`, `signal 9` or `error 2` (the errno of a program that could not start), and ends. On Linux orphans fall to
the keeper, so that none gets away by leaving its group or its parent. Elsewhere it sees only those whose parents still
live.
"""

import ctypes
import math
import os
import select
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_AGAIN_S = 0.02  # what forks while it is being killed is found on the next round


def main(line: int, patience_s: float, executable: str, argv: list[str]) -> None:
    """Run the program to its end."""
    wake = _woken_by_signals()
    os.set_inheritable(line, False)
    _process_control(_PR_SET_CHILD_SUBREAPER, 1)
    program = _started(line, executable, argv)
    watched = [line, wake]
    ended: str | None = None
    grace_s = kill_at = math.inf  # nobody wants an end
    while True:
        ended, any_left = _reaped(program, ended)
        if not any_left:
            break
        if ended is not None and kill_at == math.inf:
            grace_s = min(grace_s, patience_s)
        if kill_at == math.inf > grace_s > 0.0:
            _signal_all(signal.SIGTERM)
        kill_at = min(kill_at, time.monotonic() + grace_s)
        if time.monotonic() >= kill_at:
            _signal_all(signal.SIGKILL)
        ready, _, _ = select.select(watched, [], [], _wait_s(kill_at))
        grace_s = math.inf
        if wake in ready and set(os.read(wake, 1024)) != {signal.SIGCHLD}:
            grace_s = patience_s
        if line in ready:
            said = os.read(line, 1024)
            grace_s = min(map(float, said.split()), default=patience_s)
            watched = watched if said else [wake]
    _say(line, ended)


def _woken_by_signals() -> int:
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return wake


def _process_control(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _started(line: int, executable: str, argv: list[str]) -> int:
    """Return the process id of the program, which leads a session of its own and dies with the keeper."""
    program = os.fork()
    if program:
        return program
    try:
        os.setsid()
        _process_control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and an ignored signal stays so
            signal.signal(number, signal.SIG_DFL)
        os.execv(executable, argv)  # noqa: S606  # no shell is what is wanted
    except OSError as exc:
        _say(line, f"error {exc.errno}")
    finally:
        os._exit(127)


def _reaped(program: int, ended: str | None) -> tuple[str | None, bool]:
    """Return how the program ended, if it has, and whether any child is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended, False
        if not pid:
            return ended, True
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            ended = f"exit {code}" if code >= 0 else f"signal {-code}"


def _wait_s(kill_at: float) -> float | None:
    return None if kill_at == math.inf else max(kill_at - time.monotonic(), _AGAIN_S)


def _signal_all(number: int) -> None:
    parents = _parents()
    family = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    for pid in family - {os.getpid()}:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _parents() -> dict[int, int]:
    """Return each process with its parent."""
    if not os.path.exists("/proc/self/stat"):
        with os.popen("/bin/ps -axo pid=,ppid=") as listing:  # noqa: S605  # the line is whole as it stands here
            return {int(pid): int(parent) for pid, parent in map(str.split, listing)}
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                found[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
        except OSError:
            continue  # it has ended since
    return found


def _say(line: int, word: str | None) -> None:
    try:
        os.write(line, f"{word}\n".encode())
    except OSError:
        return  # the agent is dead


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:])
    os._exit(0)  # nothing to tidy up, and a few milliseconds saved
