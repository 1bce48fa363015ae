"""Git repositories that are meant to do harm. Each makes one, `plans`, and returns the arguments that name it."""

import subprocess
from collections.abc import Callable
from typing import Any

from ..tools.bench import Bench
from ..tools.server.stands import GIT, a_repository, git

OUTSIDE = {"index", "refs", "heads", "objects", "logs"}
NAMED = {"repository": "plans"}


def with_link(name: str) -> Callable[[Bench], dict[str, Any]]:
    """Move a part of the repository out of the work folder, and put a link in its place: git would write through it."""

    def before(bench: Bench) -> dict[str, Any]:
        part = a_repository(bench.work / "plans") / ".git" / name
        part.rename(bench.outside / part.name)
        part.symlink_to(bench.outside / part.name)
        return NAMED | {"message": "More"}

    return before


def with_filter(bench: Bench) -> dict[str, Any]:
    """A filter of the repository's own is a program that git would run."""
    folder = a_repository(bench.work / "plans")
    git(folder, "config", "filter.x.clean", f"touch {bench.outside}/x")
    (folder / ".gitattributes").write_text("* filter=x\n", "utf-8")
    return NAMED


def with_no_date(bench: Bench) -> dict[str, Any]:
    """A commit whose author has no date, and steers a terminal."""
    folder = a_repository(bench.work / "plans")
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    text = f"tree {tree}\nauthor x\n\n\x1b[31mred\tsubject\n"
    command = ["git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin"]
    how = subprocess.run(command, cwd=folder, env=GIT, input=text, capture_output=True, text=True, check=True)
    git(folder, "update-ref", "refs/heads/main", how.stdout.strip())
    return NAMED
