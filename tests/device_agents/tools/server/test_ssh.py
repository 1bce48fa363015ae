"""A further host: a real SSH server on loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from device_agents.guard import Limits, Policy
from device_agents.tools.server.settings import SshSettings
from device_agents.tools.server.ssh import SshRun

from ..bench import Bench, failing
from .stands import Host, a_host


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "host").mkdir()
    with a_host(tmp_path / "host") as host:
        yield host


def run(bench: Bench, host: Host, *argv: str, **more: Any) -> Any:
    settings = host.settings("*", host_key=more.pop("host_key", None)).server.ssh
    return bench.call(SshRun(settings), host="farm", argv=argv, **more)


def test_a_program_there_gives_its_output_and_exit_code(bench: Bench, host: Host):
    told = run(bench, host, "sh", "-c", "cat; echo no >&2; exit 3", stdin="a word", check=False)

    assert (told.exit_code, told.stdout, told.stderr) == (3, "a word", "no\n")


def test_arguments_are_words_and_no_shell_reads_them(bench: Bench, host: Host):
    assert run(bench, host, "printf", "%s|", "a b", "$HOME", "; id").stdout == "a b|$HOME|; id|"


def test_an_exit_code_is_a_failure_unless_it_is_asked_for(bench: Bench, host: Host):
    with failing("exit_nonzero", "exit code 1", retryable=True):
        run(bench, host, "false")


def test_a_host_with_another_key_is_not_talked_to(bench: Bench, host: Host):
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()

    with failing("wrong_host"):
        run(bench, host, "touch", str(bench.outside / "x"), host_key=other)
    assert list(bench.outside.iterdir()) == []


def test_a_host_that_does_not_know_the_key_says_so(bench: Bench, host: Host, tmp_path: Path):
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "wrong"))
    settings = SshSettings("127.0.0.1", host.host_key, "galaxy", str(tmp_path / "wrong"), host.port, ("*",))

    with failing("not_permitted"):
        bench.call(SshRun({"farm": settings}), host="farm", argv=["true"])


def test_a_host_that_is_not_there_may_be_tried_again(bench: Bench, tmp_path: Path, host: Host):
    settings = SshSettings("127.0.0.1", host.host_key, "galaxy", host.key, 1, ("*",))

    with failing("unreachable", retryable=True):
        bench.call(SshRun({"farm": settings}), host="farm", argv=["true"])


def test_only_programs_that_the_owner_named_are_run(bench: Bench, host: Host):
    with failing("denied", "server.ssh.farm.programs"):
        bench.call(SshRun(host.settings("uptime").server.ssh), host="farm", argv=["rm", "x"])


def test_a_long_output_is_whole_in_an_artifact(bench: Bench, host: Host):
    told = run(bench, host, "seq", "1", "20000")

    assert bench.shelf.content(told.stdout_artifact).split()[-1] == b"20000"


def test_too_much_output_ends_the_connection(host: Host, tmp_path: Path):
    (tmp_path / "strict").mkdir()
    bench = Bench(tmp_path / "strict", Policy(limits=Limits(output_bytes=1_000)))

    with failing("output_too_large"):
        run(bench, host, "seq", "1", "20000")
