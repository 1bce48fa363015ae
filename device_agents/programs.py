"""Which calls of a program run code that stands in the call itself, or in a file that a call can write.

Naming such a program in the policy is not enough: whoever may say `python3 -c ...` may say anything. The tables know
the usual ones and cannot know all. A program that starts others because of its options or of files that it finds (git,
tar, make) is as strong as those, and its options are too many to judge: its `arguments` in the policy are the fence.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

_INTERPRETERS = re.compile(
    r"(?:ba|da|z|k|mk|pdk|a|fi|c|tc|r)?sh|pwsh|powershell|cmd|(?:python|pypy)[\d.]*[tw]?|perl[\d.]*|ruby[\d.]*"
    r"|node(?:js)?|deno|bun|php(?:-cgi)?[\d.]*|lua(?:jit)?[\d.]*|tclsh[\d.]*|wish[\d.]*|expect|rscript|guile[\d.]*"
    r"|osascript|julia|groovy|scala|elixir|erl|swift|irb|ipython[\d.]*"
)
_LAUNCHERS = re.compile(
    r"env|xargs|sudo|su|doas|runuser|nohup|nice|ionice|chrt|taskset|timeout|setsid|stdbuf|time|watch|strace|ltrace|gdb"
    r"|ssh|chroot|unshare|nsenter|setpriv|flock|parallel|script|busybox|toybox|[gmn]?awk|systemd-run|at|batch|crontab"
    r"|vi|vim|nvim|ed|ex|emacs|screen|tmux|start-stop-daemon|ld(?:-linux.*)?\.so.*"
    r"|capsh|dbus-run-session|fakeroot|fakechroot|faketime|firejail|bwrap|proot|pkexec|prlimit|numactl|cpulimit|entr"
    r"|rlwrap|run-parts|setarch|linux(?:32|64)|socat|scriptreplay|npx|bunx|uvx|pipx|jshell|logrotate"
)
_STRONG = re.compile(
    r"git|hg|svn|(?:bsd|g)?tar|cpio|rsync|scp|sftp|zip|unzip|7z[ar]?|sort|split|man|less|more|wget|curl|tcpdump|nmap|nc"
    r"|g?make|ninja|cmake|meson|bazel|gcc|g\+\+|cc|clang|ld|gdbserver|cargo|rustc|go|javac?|mvn|gradle|dotnet"
    r"|npm|yarn|pnpm|pip[\d.]*|uv|poetry|gem|bundle|composer|apt|apt-get|aptitude|dpkg|rpm|yum|dnf|apk|snap|brew"
    r"|docker|podman|nerdctl|kubectl|helm|ansible(?:-.*)?|terraform|vagrant|psql|mysql|mariadb|sqlite3|openssl|gpg"
    r"|mail|mutt|systemctl|rg|fd|fdfind|adb|fastboot|ffmpeg|convert|magick|m4|dc|bc|gnuplot|octave|r"
)
_FIND_RUNS = {"-exec", "-execdir", "-ok", "-okdir"}
_MULTICALL = {"busybox", "toybox", "coreutils"}  # one file, and the name that it is called by says what it does


def given_code(argv: Sequence[str], executable: Path, cwd: Path, replaceable: Callable[[Path], bool]) -> str | None:
    """Return in what way the call would run code of its writer, or None. `replaceable`: may a call write this file?"""
    if replaceable(executable):
        return f"{executable} is in a folder that may be written, so its content is not the owner's"
    for name in _names_of(argv[0], executable):
        if _LAUNCHERS.fullmatch(name):
            return f"{name} runs whatever its arguments say"
        if name == "sed" and list(argv[1:2]) != ["--sandbox"]:
            return "sed can run programs unless its first argument is --sandbox"
        if name == "find" and (found := next((word for word in argv[1:] if word in _FIND_RUNS), None)):
            return f"find {found} runs another program"
        if _INTERPRETERS.fullmatch(name) and list(argv[1:]) != ["--version"]:
            return _given_script(name, argv, cwd, replaceable)
    return None


def strength(called: str, executable: Path) -> str | None:
    """Return why this program must not be given whatever arguments a call has, or None."""
    for name in sorted(_names_of(called, executable)):
        if _STRONG.fullmatch(name):
            return f"{name} can be told by its arguments to run other programs"
    return None


def _names_of(called: str, executable: Path) -> set[str]:
    real = _plain(os.path.realpath(executable))
    return {_plain(called)} if real in _MULTICALL else {_plain(called), real}


def _plain(path: str) -> str:
    return Path(path).name.casefold().removesuffix(".exe")


def _given_script(name: str, argv: Sequence[str], cwd: Path, replaceable: Callable[[Path], bool]) -> str | None:
    """An interpreter's first argument is a script that stands where no call can write; options could smuggle code."""
    if len(argv) < 2 or argv[1].startswith("-"):
        return f"{name} without the file of a script as its first argument runs code of the call"
    script = Path(os.path.realpath(cwd / argv[1]))
    if not script.is_file():
        return f"{name} is given {argv[1]}, which is not the file of a script"
    if replaceable(script):
        return f"{name} is given {argv[1]}, which is in a folder that may be written"
    return None
