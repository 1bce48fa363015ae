"""A git repository that others may have written, and how git is run on it so that it runs nothing else.

A repository's own configuration can name programs: filters, hooks, a monitor, an editor. Hooks are switched off. Of the
keys, those that are known to start nothing may stand there; with any other the repository is refused.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from ...errors import ToolFailed
from ...guard import Guard, Place
from ..base import Context
from ..beneath import folder, kind_of, shown, status, told
from ..blocking import unblocked
from ..program import Launch
from ..running import Ran, environment, exit_nonzero, ran
from ..wanted import program

TIMEOUT_S_MAX = 3_600
Timeout = Annotated[float, Meta(gt=0, le=TIMEOUT_S_MAX, description="For all of it.")]
Revision = Annotated[
    str,
    Meta(
        max_length=200,
        pattern="^[A-Za-z0-9_][A-Za-z0-9_./@{}~^-]*$",
        description="A commit, a branch, a tag, or HEAD~2.",
    ),
]

_HARMLESS_KEYS = (
    *("core.repositoryformatversion", "core.filemode", "core.bare", "core.logallrefupdates", "core.ignorecase"),
    *("core.precomposeunicode", "core.symlinks", "core.autocrlf", "core.eol", "core.safecrlf", "core.abbrev"),
    *("core.compression", "core.quotepath", "core.sharedrepository", "extensions.objectformat", "init.defaultbranch"),
    *("remote.*.url", "remote.*.fetch", "remote.*.tagopt", "remote.pushdefault", "branch.*.remote", "branch.*.merge"),
    *("branch.*.rebase", "user.name", "user.email", "pull.*", "push.default", "fetch.prune", "gc.auto", "pack.*"),
    *("color.*", "submodule.active", "advice.*"),
)
_LINK_TO_COMMIT = b"160000 "  # how a submodule stands in the index
_SAFE = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "credential.helper="),
    *("-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "submodule.recurse=false", "-c", "safe.directory=*"),
    *("-c", "http.followRedirects=false", "-c", "commit.gpgSign=false", "-c", "color.ui=false"),
)
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "false",
    "GIT_ALLOW_PROTOCOL": "file:http:https",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_PAGER": "cat",
    "LC_ALL": "C.UTF-8",
}


@dataclass(frozen=True, slots=True)
class Git:
    """Git, for the length of one call."""

    context: Context
    timeout_s: float

    async def run(
        self, place: Place, *words: str, stdin: str = "", env: Mapping[str, str] | None = None, check: bool = True
    ) -> Ran:
        """Return how git ended that ran in the folder; raise ToolFailed if it did not end well and that is checked."""
        launch = await unblocked(lambda _: self._launch(words, stdin, env or {}))
        how = await ran(launch, place, self.context, self.timeout_s)
        if check and how.exit_code != 0:
            raise exit_nonzero(f"git {_verb(words)}", how.exit_code, how.words)
        return how

    async def in_repository(self, place: Place, *words: str, stdin: str = "", check: bool = True) -> Ran:
        """Return how git ended on the repository in the folder, which has been `checked`."""
        env = {"GIT_DIR": ".git", "GIT_WORK_TREE": "."}
        return await self.run(place, *words, stdin=stdin, env=env, check=check)

    async def checked(self, place: Place) -> None:
        """Raise ToolFailed unless the folder has a repository of its own, which starts no program."""
        inside = await unblocked(lambda _: _inside(place))
        await self.check_configuration(inside)

    async def check_configuration(self, inside: Place) -> None:
        """Raise ToolFailed if the configuration in this folder of git's own may start a program."""
        words = ("config", "--no-includes", "--file", "config", "--list", "--name-only", "-z")
        how = await self.run(inside, *words)
        if not how.stdout.is_said_by(how.stdout.text(len(how.stdout.head) * 6)):
            raise ToolFailed("denied", f"{inside.path}/config is too long; no setting of guard.toml allows it")
        for key in how.stdout.head.decode("utf-8", "replace").split("\0"):
            if key and not any(fnmatchcase(key.lower(), pattern) for pattern in _HARMLESS_KEYS):
                reason = f"{inside.path}/config sets {key[:100]}, which may start a program"
                raise ToolFailed("denied", f"{reason}; no setting of guard.toml allows it: use shell.run with git")

    async def check_alone(self, place: Place) -> None:
        """Raise ToolFailed if the repository has others inside: to see what has changed there, git runs there.

        Then their configurations count, and what those start.
        """
        how = await self.in_repository(place, "ls-files", "--stage", "-z")
        for line in (await how.stdout.whole()).split(b"\0"):
            if line.startswith(_LINK_TO_COMMIT):
                path = os.fsdecode(line.partition(b"\t")[2])
                reason = f"{place.path} has another repository inside ({shown(path)[:200]}), which may start programs"
                raise ToolFailed("denied", f"{reason}; no setting of guard.toml allows it: use shell.run with git")

    def _launch(self, words: tuple[str, ...], stdin: str, more: Mapping[str, str]) -> Launch:
        executable = Path(program("git", "git"))
        scratch = self.context.scratch
        with told(scratch):
            scratch.mkdir(parents=True, exist_ok=True)
            said = scratch / "stdin"
            said.write_text(stdin, "utf-8")
        env = environment(self.context.guard, scratch, {**_ENVIRONMENT, "HOME": str(scratch), **more})
        return Launch(executable, ("git", *_SAFE, *words), env, said, self.context.grace)


async def probe_git(guard: Guard) -> None:
    """Raise ToolFailed if git is not there, or no folder is."""
    await unblocked(lambda _: program("git", "git"))
    await unblocked(lambda _: guard.check_folders())


def _inside(place: Place) -> Place:
    inside = place.below(".git")
    if place.keep_out is not None and place.keep_out.is_relative_to(place.path):
        raise ToolFailed("denied", f"{place.path} holds the folder of the device's key; no setting of guard.toml helps")
    with told(place.path):
        status(place)
    try:
        with told(inside.path):
            found = status(inside)
    except ToolFailed as exc:
        raise ToolFailed("not_a_repository", f"{place.path} has no folder .git") from exc
    if kind_of(found.st_mode) != "folder":
        raise ToolFailed("not_a_repository", f"{inside.path} is no folder; a repository elsewhere is not followed")
    check_own(inside)
    return inside


def check_own(inside: Place) -> None:
    """Raise ToolFailed if what git keeps in this folder is not all there, but some of it leads elsewhere."""
    for name in ("commondir", "objects/info/alternates"):
        try:
            with told(inside.path):
                status(inside.below(*name.split("/")))
        except ToolFailed as exc:
            if exc.failure.code == "not_found":
                continue
            raise
        raise _leads_away(inside, name)
    with told(inside.path), folder(inside) as opened:
        for _, folders, files, here in os.fwalk(".", dir_fd=opened):
            for name in (*folders, *files):
                if stat.S_ISLNK(os.lstat(name, dir_fd=here).st_mode):
                    raise _leads_away(inside, f"the link {name[:100]}")


def _leads_away(inside: Place, name: str) -> ToolFailed:
    return ToolFailed("denied", f"{inside.path} leads elsewhere ({shown(name)}); no setting of guard.toml helps")


def _verb(words: tuple[str, ...]) -> str:
    return next((word for word in words if not word.startswith("-")), "")
