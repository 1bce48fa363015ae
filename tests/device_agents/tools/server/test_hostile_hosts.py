"""What a call says to a further host: names that a pattern matches and that the shell there would read otherwise."""

import pytest

from device_agents.tools.server.ssh import SshRun

from ..bench import Bench, failing
from .stands import a_host


@pytest.mark.parametrize(
    ("program", "argv"),
    [
        ("*.sh", ["PATH=/x/a.sh", "id"]),
        ("*.sh", ["x=.sh", "touch", "/tmp/x"]),
        ("/opt/tools/*", ["/opt/tools/../../bin/id"]),
        ("/opt/tools/*", ["/opt/tools/.."]),
    ],
)
def test_a_name_that_only_a_pattern_takes_for_a_program_is_refused(bench: Bench, program: str, argv: list[str]):
    with a_host(bench.outside) as host:
        ssh = host.settings(program).server.ssh

        with failing("bad_arguments", "no program"):
            bench.call(SshRun(ssh), host="farm", argv=argv)


@pytest.mark.parametrize("words", [["$(id)"], ["`id`", ";", "id"], ["-oProxyCommand=id"], ["a\nid"], ["'\"'", "*"]])
def test_words_are_words_there_whatever_they_hold(bench: Bench, words: list[str]):
    with a_host(bench.outside) as host:
        told = bench.call(SshRun(host.settings("printf").server.ssh), host="farm", argv=["printf", "%s|", *words])

    assert told.stdout == "".join(f"{word}|" for word in words)
