"""Git, the real one, on repositories that may be hostile."""

import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from device_agents.guard import Folders, Guard, Policy, Web
from device_agents.tools.server.git_changing import GitClone, GitCommit
from device_agents.tools.server.git_looking import GitDiff, GitLog, GitStatus

from ..bench import Bench, failing
from .stands import a_repository, git


@pytest.fixture
def plans(bench: Bench) -> Path:
    return a_repository(bench.work / "plans")


def test_status_tells_the_branch_and_each_change_in_folder_and_index(bench: Bench, plans: Path):
    (plans / "new file.txt").write_text("x", "utf-8")
    (plans / "moved.txt").write_text("staged", "utf-8")
    git(plans, "add", "moved.txt")

    status = bench.call(GitStatus(), repository="plans")

    changes = {(each.path, each.index, each.folder) for each in status.changes}
    assert (status.branch, status.commit) == ("main", git(plans, "rev-parse", "HEAD"))
    assert changes == {("plan.txt", ".", "M"), ("moved.txt", "A", "."), ("new file.txt", "?", "?")}


def test_a_repository_without_a_commit_has_a_status_too(bench: Bench):
    (bench.work / "empty").mkdir()
    git(bench.work / "empty", "init", "--quiet")

    status = bench.call(GitStatus(), repository="empty")

    assert (status.branch, status.commit, status.changes) == ("main", "", [])


def test_diff_shows_the_folder_the_index_or_two_commits(bench: Bench, plans: Path):
    of_the_folder = bench.call(GitDiff(), repository="plans").diff
    of_the_index = bench.call(GitDiff(), repository="plans", staged=True).diff
    git(plans, "commit", "--quiet", "-am", "More")
    of_two = bench.call(GitDiff(), repository="plans", since="HEAD~1", until="HEAD", paths=["plan.txt"]).diff

    assert "+two" in of_the_folder
    assert of_the_index == ""
    assert "+two" in of_two


def test_a_long_diff_is_whole_in_an_artifact(bench: Bench, plans: Path):
    (plans / "plan.txt").write_text("x" * 79 + "\n" * 1 + "line\n" * 20_000, "utf-8")

    told = bench.call(GitDiff(), repository="plans")

    assert told.artifact is not None
    assert bench.shelf.content(told.artifact).count(b"+line") == 20_000


def test_log_lists_the_newest_first_and_says_that_there_are_more(bench: Bench, plans: Path):
    git(plans, "commit", "--quiet", "-am", "More\tof it")

    log = bench.call(GitLog(), repository="plans", limit=1)

    assert [(each.author, each.subject) for each in log.commits] == [("Ada", "More\tof it")]
    assert log.truncated


def test_a_commit_takes_new_changed_and_deleted_files_and_can_be_read_back(bench: Bench, plans: Path):
    (plans / "new.txt").write_text("x", "utf-8")

    made = bench.call(GitCommit(), repository="plans", message="All of it\n\nwith -F and --amend in its words")

    assert made.files == 2
    assert made.commit == git(plans, "rev-parse", "HEAD")
    assert git(plans, "log", "-1", "--format=%an <%ae> %s") == "Galaxy <galaxy@localhost> All of it"
    assert git(plans, "status", "--porcelain") == ""


def test_a_commit_of_some_paths_leaves_the_others(bench: Bench, plans: Path):
    (plans / "new.txt").write_text("x", "utf-8")

    made = bench.call(GitCommit(), repository="plans", message="One", paths=["new.txt"])

    assert made.files == 1
    assert git(plans, "status", "--porcelain") == "M plan.txt"


def test_nothing_to_commit_is_a_failure_of_its_own(bench: Bench, plans: Path):
    git(plans, "checkout", "--quiet", ".")

    with failing("nothing_to_commit"):
        bench.call(GitCommit(), repository="plans", message="Nothing")


def test_a_folder_is_cloned_and_once_cloned_is_as_good(bench: Bench, plans: Path):
    first = bench.call(GitClone(), source="plans", folder="deep/er/copy")
    again = bench.call(GitClone(), source="plans", folder="deep/er/copy")

    assert (first.cloned, again.cloned) == (True, False)
    assert first.commit == again.commit == git(plans, "rev-parse", "HEAD")
    assert (bench.work / "deep/er/copy/plan.txt").read_text("utf-8") == "one\n"
    assert [each.name for each in (bench.work / "deep/er").iterdir()] == ["copy"]


def test_a_clone_over_something_else_is_refused(bench: Bench, plans: Path):
    a_repository(bench.work / "other")

    with failing("exists", "no clone of"):
        bench.call(GitClone(), source="plans", folder="other")


def test_a_clone_that_fails_leaves_nothing(bench: Bench, plans: Path):
    with failing("exit_nonzero", "nowhere", retryable=True):
        bench.call(GitClone(), source="plans", folder="copy", branch="nowhere")

    assert sorted(each.name for each in bench.work.iterdir()) == ["plans"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """A repository on the web, as plain files."""
    folder = tmp_path / "site"
    bare = folder / "plans.git"
    a_repository(tmp_path / "origin")
    folder.mkdir()
    subprocess.run(["git", "clone", "--quiet", "--bare", str(tmp_path / "origin"), str(bare)], check=True, timeout=20)
    git(bare, "update-server-info")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/plans.git"
        server.shutdown()
        thread.join()


def test_a_url_is_cloned_from_the_address_that_the_guard_has_seen(bench: Bench, site: str):
    port = int(site.split(":")[2].partition("/")[0])
    bench.guard = Guard(Policy(http=Web(hosts=("plans.example",), ports=(port,), private=True)), bench.work)
    bench.context = bench.context.__class__(
        "c/star#1", bench.guard, bench.context.scratch, bench.shelf, bench.context.progress
    )

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    made = bench.call(GitClone(resolve=resolve), source=site.replace("localhost", "plans.example"), folder="copy")

    assert made.cloned
    assert (bench.work / "copy/plan.txt").read_text("utf-8") == "one\n"


@pytest.mark.parametrize("source", ["ext::sh -c touch% x", "ssh://host/x", "http://user:pw@host/x", "file:///etc"])
def test_only_folders_and_plain_urls_are_sources(bench: Bench, source: str):
    with failing("bad_arguments" if "://" in source else "not_a_repository"):
        bench.call(GitClone(), source=source, folder="copy")


HOSTILE = {
    "a monitor": ("core.fsmonitor", "touch $HOME/x"),
    "a filter": ("filter.f.clean", "touch x"),
    "an include": ("include.path", "../more"),
    "a diff program": ("diff.external", "touch x"),
    "a program for ssh": ("core.sshCommand", "touch x"),
    "another folder": ("core.worktree", "/"),
    "a helper": ("credential.helper", "!touch x"),
}


@pytest.mark.parametrize("key", HOSTILE)
def test_a_repository_whose_configuration_starts_programs_is_refused(bench: Bench, plans: Path, key: str):
    git(plans, "config", *HOSTILE[key])

    for tool, more in ((GitStatus(), {}), (GitDiff(), {}), (GitCommit(), {"message": "x"})):
        with failing("denied", HOSTILE[key][0].lower()):
            bench.call(tool, repository="plans", **more)


def test_hooks_do_not_run(bench: Bench, plans: Path):
    for name in ("pre-commit", "post-commit", "commit-msg", "post-checkout"):
        hook = plans / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {plans}/ran\n", "utf-8")
        hook.chmod(0o755)

    bench.call(GitCommit(), repository="plans", message="x")

    assert not (plans / "ran").exists()


def test_a_repository_that_lies_elsewhere_is_not_followed(bench: Bench, plans: Path):
    secret = a_repository(bench.outside / "secret")
    pointing = bench.work / "pointing"
    pointing.mkdir()
    (pointing / ".git").write_text(f"gitdir: {secret}/.git\n", "utf-8")
    (bench.work / "linked").mkdir()
    os.symlink(secret / ".git", bench.work / "linked/.git")
    (plans / ".git/objects/info").mkdir(exist_ok=True)
    (plans / ".git/objects/info/alternates").write_text(f"{secret}/.git/objects\n", "utf-8")

    for name, code in (("pointing", "not_a_repository"), ("linked", "not_a_repository"), ("plans", "denied")):
        with failing(code):
            bench.call(GitLog(), repository=name)


def test_a_folder_inside_a_repository_is_not_one(bench: Bench, plans: Path):
    (plans / "below").mkdir()

    with failing("not_a_repository", "has no folder .git"):
        bench.call(GitStatus(), repository="plans/below")


def test_the_device_key_is_never_committed(bench: Bench, plans: Path):
    (plans / "state").mkdir()
    guard = Guard(Policy(folders=Folders(read=(".",), write=(".",))), bench.work, keep_out=plans / "state")
    bench.context = bench.context.__class__("c/star#1", guard, bench.context.scratch, bench.shelf, lambda *_: None)

    with failing("denied", "device's key"):
        bench.call(GitCommit(), repository="plans", message="x")


@pytest.mark.parametrize("revision", ["--output=x", "-n1", "HEAD:plan.txt;id", ""])
def test_a_revision_is_never_an_option(bench: Bench, plans: Path, revision: str):
    with pytest.raises(Exception, match=r"revision|since"):
        bench.call(GitDiff(), repository="plans", since=revision)
