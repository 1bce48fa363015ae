"""Repositories that lead elsewhere, or start programs, by what lies in their folders and not in their configuration."""

import os
from pathlib import Path

import pytest

from device_agents.tools.server.git_changing import GitClone, GitCommit
from device_agents.tools.server.git_looking import GitDiff, GitLog, GitStatus

from ..bench import Bench, failing
from .stands import a_repository, git


@pytest.fixture
def secret(bench: Bench) -> Path:
    """A repository that no tool may read."""
    return a_repository(bench.outside / "secret")


def pointing_by_commondir(bench: Bench, secret: Path) -> None:
    inside = bench.work / "evil" / ".git"
    inside.mkdir(parents=True)
    (inside / "HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    (inside / "config").write_text("[core]\n\trepositoryformatversion = 0\n", "utf-8")
    (inside / "commondir").write_text(f"{secret}/.git\n", "utf-8")


def bare_with_links(bench: Bench, secret: Path) -> None:
    """As a clone of somebody's repository can bring it: links and plain files, none of them called .git."""
    bare = bench.work / "evil"
    bare.mkdir()
    (bare / "HEAD").write_text("ref: refs/heads/main\n", "utf-8")
    (bare / "config").write_text("[core]\n\tbare = true\n", "utf-8")
    for name in ("objects", "refs"):
        os.symlink(secret / ".git" / name, bare / name)


def with_links_inside(bench: Bench, secret: Path) -> None:
    evil = a_repository(bench.work / "evil")
    for name in ("objects", "refs"):
        (evil / ".git" / name).rename(evil / f"old-{name}")
        os.symlink(secret / ".git" / name, evil / ".git" / name)


def with_a_linked_pack(bench: Bench, secret: Path) -> None:
    git(secret, "gc", "--quiet")
    evil = a_repository(bench.work / "evil")
    (evil / ".git" / "refs/heads/main").write_text(git(secret, "rev-parse", "HEAD") + "\n", "utf-8")
    for pack in (secret / ".git/objects/pack").iterdir():
        os.symlink(pack, evil / ".git/objects/pack" / pack.name)


LEADING = [pointing_by_commondir, bare_with_links, with_links_inside, with_a_linked_pack]


@pytest.mark.parametrize("leading", LEADING)
def test_a_source_that_leads_to_another_repository_is_not_cloned(bench: Bench, secret: Path, leading: object):
    leading(bench, secret)  # type: ignore[operator]  # one of the above

    for depth in (None, 1):
        with failing("denied"):
            bench.call(GitClone(), source="evil", folder="copy", depth=depth)
    assert not (bench.work / "copy").exists()


@pytest.mark.parametrize("leading", [with_links_inside, with_a_linked_pack])
def test_a_repository_with_links_to_another_one_is_not_looked_at(bench: Bench, secret: Path, leading: object):
    leading(bench, secret)  # type: ignore[operator]  # one of the above

    for tool, more in ((GitLog(), {}), (GitStatus(), {}), (GitDiff(), {}), (GitCommit(), {"message": "x"})):
        with failing("denied"):
            bench.call(tool, repository="evil", **more)


def test_a_repository_inside_of_another_starts_no_program_of_its_own(bench: Bench):
    plans = a_repository(bench.work / "plans")
    inner = a_repository(plans / "inner")
    git(inner, "checkout", "--quiet", ".")
    git(plans, "add", "inner")
    git(plans, "commit", "--quiet", "-m", "With a repository inside")
    (inner / ".gitattributes").write_text("* filter=f\n", "utf-8")
    for key in ("filter.f.clean", "filter.f.smudge", "core.fsmonitor", "core.sshCommand", "diff.external"):
        git(inner, "config", key, f"touch {bench.outside}/ran; cat")
    (inner / "plan.txt").write_text("owe\n", "utf-8")  # as long as before: one has to read it
    (plans / "plan.txt").write_text("changed\n", "utf-8")

    bench.call(GitStatus(), repository="plans")
    bench.call(GitDiff(), repository="plans")
    with failing("denied", "inner"):
        bench.call(GitCommit(), repository="plans", message="x")

    assert list(bench.outside.iterdir()) == []


def test_a_repository_of_many_files_is_looked_through_to_the_last(bench: Bench):
    plans = a_repository(bench.work / "plans")
    for number in range(3_000):
        (plans / f"{'x' * 100}{number}").touch()
    a_repository(plans / "zzz")
    git(plans, "add", ".")

    with failing("denied", "zzz"):
        bench.call(GitCommit(), repository="plans", message="x")
