"""The tools that make and change git repositories: clone and commit."""

import asyncio
import os
import shutil
import uuid
from contextlib import suppress
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard, Place
from ..base import Context
from ..beneath import parent, shown, status, told
from ..blocking import Stop, unblocked
from ..files import PathText
from ..http import Resolve, allowed_addresses, resolved
from .git_repository import Git, Timeout, check_own, probe_git

_PORTS = {"http": 80, "https": 443}
BranchName = Annotated[str, Meta(max_length=200, pattern="^[A-Za-z0-9_][A-Za-z0-9_./-]*$")]
PlainName = Annotated[str, Meta(min_length=1, max_length=100, pattern="^[^<>\\x00-\\x1f]+$")]


class CloneArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is cloned, and where to."""

    source: Annotated[PathText, Meta(description="A repository's folder on this device, or its URL: https or http.")]
    folder: Annotated[PathText, Meta(description="It may be there only as a clone of this very source.")]
    branch: Annotated[BranchName, Meta(description="Checked out instead of the source's own.")] | None = None
    depth: Annotated[int, Meta(ge=1, description="Only so many commits; all by default.")] | None = None
    timeout_s: Timeout = 300


class CloneResult(Struct, frozen=True):
    """The clone."""

    folder: str
    commit: Annotated[str, Meta(description="The one checked out; empty if the source has none.")]
    cloned: Annotated[bool, Meta(description="False: it was there already.")]


class GitClone:
    """Clone a git repository into a new folder. Sources on the web are allowed as for http.request."""

    name: ClassVar[str] = "git.clone"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = CloneArguments
    Result: ClassVar[type[Struct]] = CloneResult

    def __init__(self, *, resolve: Resolve = resolved) -> None:
        self._resolve = resolve

    async def probe(self, guard: Guard) -> None:
        await probe_git(guard)

    async def run(self, arguments: CloneArguments, context: Context) -> CloneResult:
        context.guard.check_timeout(arguments.timeout_s)
        target = context.guard.writable(arguments.folder)
        git = Git(context, arguments.timeout_s)
        source, options = await self._source(arguments, git)
        if await unblocked(lambda _: _is_there(target)):
            await self._check_same(git, target, source)
            return CloneResult(shown(target.path), await _commit_of(git, target), False)
        around, name = Place(target.root, target.parts[:-1], target.keep_out), f".{uuid.uuid4().hex}.draft"
        branch = ["--branch", arguments.branch] if arguments.branch else []
        depth = ["--depth", str(arguments.depth)] if arguments.depth else []
        clone = ("clone", "--quiet", "--template=", "--no-hardlinks", "--no-recurse-submodules", *branch, *depth)
        await unblocked(lambda _: _made(target))
        try:
            await git.run(around, *options, *clone, "--", source, name)
            await unblocked(lambda _: _put_in_place(target, name))
        finally:
            await unblocked(lambda stop: _removed(target, name, stop))
        return CloneResult(shown(target.path), await _commit_of(git, target), True)

    async def _source(self, arguments: CloneArguments, git: Git) -> tuple[str, list[str]]:
        """Return what git is given as source, and the options that bind it to what the guard has seen."""
        guard, source = git.context.guard, arguments.source
        if "://" not in source:
            place = guard.readable(source)
            await git.check_configuration(await unblocked(lambda _: _inside_of_source(place)))
            return (f"file://{place.path}" if arguments.depth else str(place.path)), []
        try:
            url = urlsplit(source)
            port = url.port or _PORTS.get(url.scheme, 0)
        except ValueError as exc:
            raise ToolFailed("bad_arguments", f"source is no URL: {exc}") from exc
        host = (url.hostname or "").casefold()
        if url.scheme not in _PORTS or not host or url.username or url.password:
            raise ToolFailed("bad_arguments", "source is a folder, or a URL of http or https without a user's name")
        guard.check_origin(host, port)
        async with asyncio.timeout(git.timeout_s):
            addresses = await allowed_addresses(self._resolve, guard, host, port)
        pinned = ",".join(f"[{each}]" if ":" in each else each for each in addresses)
        return source, ["-c", f"http.curloptResolve={host}:{port}:{pinned}", "-c", "http.proxy="]

    async def _check_same(self, git: Git, target: Place, source: str) -> None:
        await git.checked(target)
        how = await git.in_repository(target, "config", "--local", "--get", "remote.origin.url", check=False)
        if how.stdout.head.decode("utf-8", "replace").strip() != source:
            raise ToolFailed("exists", f"{target.path} is there, and is no clone of {source}")


def _is_there(target: Place) -> bool:
    try:
        with told(target.path):
            status(target)
    except ToolFailed as exc:
        if exc.failure.code == "not_found":
            return False
        raise
    return True


def _inside_of_source(place: Place) -> Place:
    """Return where the source keeps its configuration: a bare repository has it in the folder itself."""
    for inside in (place.below(".git"), place):
        try:
            with told(inside.path):
                status(inside.below("HEAD"))
        except ToolFailed:
            continue
        check_own(inside)
        return inside
    raise ToolFailed("not_a_repository", f"{place.path} is no git repository")


def _made(target: Place) -> None:
    with told(target.path), parent(target, create=True):
        pass


def _put_in_place(target: Place, draft: str) -> None:
    with told(target.path), parent(target) as (around, name):
        os.rename(draft, name, src_dir_fd=around, dst_dir_fd=around)


def _removed(target: Place, draft: str, stop: Stop) -> None:
    with suppress(ToolFailed), told(target.path), parent(target) as (around, _):
        shutil.rmtree(draft, dir_fd=around)


async def _commit_of(git: Git, place: Place) -> str:
    how = await git.in_repository(place, "rev-parse", "--verify", "--quiet", "HEAD", check=False)
    return how.stdout.head.decode().strip()


class CommitArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is committed, and in whose name."""

    repository: PathText
    message: Annotated[str, Meta(min_length=1, max_length=20_000, pattern="^[^\\x00]*\\S[^\\x00]*$")]
    paths: Annotated[tuple[PathText, ...], Meta(max_length=1_000, description="From the repository; all if none.")] = ()
    author: PlainName = "Galaxy"
    email: PlainName = "galaxy@localhost"
    timeout_s: Timeout = 60


class CommitResult(Struct, frozen=True):
    """The commit."""

    commit: str
    files: Annotated[int, Meta(description="How many it changes.")]


class GitCommit:
    """Commit changed, new and deleted files of a git repository. Hooks do not run."""

    name: ClassVar[str] = "git.commit"
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = CommitArguments
    Result: ClassVar[type[Struct]] = CommitResult

    async def probe(self, guard: Guard) -> None:
        await probe_git(guard)

    async def run(self, arguments: CommitArguments, context: Context) -> CommitResult:
        context.guard.check_timeout(arguments.timeout_s)
        place = context.guard.writable(arguments.repository)
        git = Git(context, arguments.timeout_s)
        await git.checked(place)
        await git.check_alone(place)
        await git.in_repository(place, "add", "--all", "--", *(arguments.paths or (".",)))
        only = ("--", *arguments.paths) if arguments.paths else ()
        staged = await git.in_repository(place, "diff", "--cached", "--shortstat", "--no-renames", *only)
        files = int((staged.stdout.head.split() or [b"0"])[0])  # as in "2 files changed, 3 insertions(+)"
        if not files:
            raise ToolFailed("nothing_to_commit", f"nothing in {place.path} differs from the last commit")
        who = ("-c", f"user.name={arguments.author}", "-c", f"user.email={arguments.email}")
        commit = ("commit", "--quiet", "--no-verify", "--cleanup=whitespace", "-F", "-")
        await git.in_repository(place, *who, *commit, *only, stdin=arguments.message)
        return CommitResult(await _commit_of(git, place), files)
