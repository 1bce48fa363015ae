"""The tools that look at a git repository: its status, what differs, its history."""

import re
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from ..base import ArtifactRef, Context
from ..files import PathText
from ..running import OUTPUT_INLINE_MAX, kept
from ..spool import Spool
from .git_repository import Git, Revision, Timeout, probe_git

ENTRIES_MAX = 200
COMMITS_MAX = 100
_SUBJECT_CHARS = 200


class StatusArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which repository."""

    repository: PathText
    timeout_s: Timeout = 30


class Change(Struct, frozen=True):
    """One path that is not as in the last commit."""

    path: str
    index: Annotated[str, Meta(description="What is staged: M, A, D, R, C, U; ? if unknown to git; . if nothing.")]
    folder: Annotated[str, Meta(description="What is changed in the folder and not staged, in the same letters.")]


class StatusResult(Struct, frozen=True):
    """How the repository is."""

    branch: Annotated[str, Meta(description="Empty when no branch is checked out.")]
    commit: Annotated[str, Meta(description="The last commit; empty before the first.")]
    changes: list[Change]
    truncated: bool


class GitStatus:
    """Tell the branch, the last commit and the changed files of a git repository."""

    name: ClassVar[str] = "git.status"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"changes": ENTRIES_MAX}
    Arguments: ClassVar[type[Struct]] = StatusArguments
    Result: ClassVar[type[Struct]] = StatusResult

    async def probe(self, guard: Guard) -> None:
        await probe_git(guard)

    async def run(self, arguments: StatusArguments, context: Context) -> StatusResult:
        context.guard.check_timeout(arguments.timeout_s)
        place = context.guard.readable(arguments.repository)
        git = Git(context, arguments.timeout_s)
        await git.checked(place)
        how = await git.in_repository(
            place, "status", "--porcelain=v2", "-z", "--branch", "--untracked-files=all", "--ignore-submodules=all"
        )
        return _status(how.stdout)


def _status(output: Spool) -> StatusResult:
    whole = output.count == len(output.head)
    fields = output.head.decode("utf-8", "replace").split("\0")[:-1]
    branch = commit = ""
    changes = []
    rest = iter(fields)
    for field in rest:
        match field.split(" "):
            case ["#", "branch.oid", said]:
                commit = "" if said == "(initial)" else said
            case ["#", "branch.head", *said]:
                branch = "" if said == ["(detached)"] else " ".join(said)
            case ["?", *path]:
                changes.append(Change(" ".join(path), "?", "?"))
            case ["1", states, _, _, _, _, _, _, *path]:
                changes.append(Change(" ".join(path), states[0], states[1]))
            case ["2", states, _, _, _, _, _, _, _, *path]:
                changes.append(Change(" ".join(path), states[0], states[1]))
                next(rest, None)  # where it was before
            case ["u", states, _, _, _, _, _, _, _, _, *path]:
                changes.append(Change(" ".join(path), "U", states[1]))
    return StatusResult(branch, commit, changes[:ENTRIES_MAX], not whole or len(changes) > ENTRIES_MAX)


class DiffArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is compared: by default, the folder with what is staged."""

    repository: PathText
    since: Annotated[Revision, Meta(description="Compare with this commit instead.")] | None = None
    until: Annotated[Revision, Meta(description="And this commit, not the folder, with `since`.")] | None = None
    staged: Annotated[bool, Meta(description="Compare what is staged, and not the folder.")] = False
    paths: Annotated[tuple[PathText, ...], Meta(max_length=100, description="From the repository; all if none.")] = ()
    timeout_s: Timeout = 60


class DiffResult(Struct, frozen=True, omit_defaults=True):
    """The differences as a unified diff; cut where it is long, and whole in the artifact."""

    diff: str
    artifact: ArtifactRef | None = None


class GitDiff:
    """Show the differences in a git repository: of the folder, of what is staged, or between two commits."""

    name: ClassVar[str] = "git.diff"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"inline_bytes": OUTPUT_INLINE_MAX}
    Arguments: ClassVar[type[Struct]] = DiffArguments
    Result: ClassVar[type[Struct]] = DiffResult

    async def probe(self, guard: Guard) -> None:
        await probe_git(guard)

    async def run(self, arguments: DiffArguments, context: Context) -> DiffResult:
        context.guard.check_timeout(arguments.timeout_s)
        if arguments.until and (arguments.staged or not arguments.since):
            raise ToolFailed("bad_arguments", "until goes with since, and not with staged")
        place = context.guard.readable(arguments.repository)
        git = Git(context, arguments.timeout_s)
        await git.checked(place)
        revisions = [each for each in (arguments.since, arguments.until) if each]
        staged = ["--cached"] if arguments.staged else []
        plain = ("--no-ext-diff", "--no-textconv", "--ignore-submodules=all")
        how = await git.in_repository(place, "diff", *plain, *staged, *revisions, "--", *arguments.paths)
        return DiffResult(*await kept(how.stdout, context))


class LogArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which commits, the newest first."""

    repository: PathText
    revision: Revision = "HEAD"
    paths: Annotated[tuple[PathText, ...], Meta(max_length=100, description="Only commits that changed these.")] = ()
    limit: Annotated[int, Meta(ge=1, le=COMMITS_MAX)] = 20
    timeout_s: Timeout = 30


class Commit(Struct, frozen=True):
    """One commit."""

    commit: str
    author: str
    at: Annotated[int, Meta(description="Seconds since 1970, as its author says.")]
    subject: str


class LogResult(Struct, frozen=True):
    """The commits, and whether there are more."""

    commits: list[Commit]
    truncated: bool


class GitLog:
    """List the commits of a git repository, the newest first."""

    name: ClassVar[str] = "git.log"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"commits": COMMITS_MAX}
    Arguments: ClassVar[type[Struct]] = LogArguments
    Result: ClassVar[type[Struct]] = LogResult

    async def probe(self, guard: Guard) -> None:
        await probe_git(guard)

    async def run(self, arguments: LogArguments, context: Context) -> LogResult:
        context.guard.check_timeout(arguments.timeout_s)
        place = context.guard.readable(arguments.repository)
        git = Git(context, arguments.timeout_s)
        await git.checked(place)
        shape = f"--format=%H%x09%at%x09%<(100,trunc)%an%x09%<({_SUBJECT_CHARS},trunc)%s"
        count = f"-n{arguments.limit + 1}"
        how = await git.in_repository(place, "log", count, shape, "-z", arguments.revision, "--", *arguments.paths)
        lines = how.stdout.head.decode("utf-8", "replace").split("\0")
        whole = how.stdout.count == len(how.stdout.head)
        commits = [_commit(line) for line in (lines if whole else lines[:-1]) if line]
        return LogResult(commits[: arguments.limit], not whole or len(commits) > arguments.limit)


def _commit(line: str) -> Commit:
    commit, at, author, subject = line.split("\t", 3)
    when = int(at) if re.fullmatch(r"-?[0-9]{1,15}", at) else 0  # a commit may have been written by anything
    return Commit(commit, author.rstrip(), when, subject.rstrip())
