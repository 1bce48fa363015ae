"""Programs that others can be started by: refused without `arguments`, and really run where all is allowed."""

import shutil
from pathlib import Path

import pytest

from device_agents.guard import Policy, ProgramRule
from device_agents.tools.shell import ShellRun

from .bench import Bench, failing

STRONG = [
    ["tar", "cf", "x.tar", ".", "--checkpoint=1", "--checkpoint-action=exec=touch harm"],
    ["tar", "cf", "x.tar", "-I", "touch harm", "."],
    ["git", "-c", "alias.x=!touch harm", "x"],
    ["git", "ls-remote", "--upload-pack=touch harm;", "."],
    ["sort", "--compress-program=touch", "x"],
    ["make", "--eval=x:;touch harm", "x"],
    ["scp", "-S", "touch", "a", "b:"],
    ["man", "-Ptouch harm", "ls"],
    ["split", "--filter=touch harm", "x"],
    ["curl", "-K", "x"],
    ["docker", "run", "x"],
    ["pip", "install", "x"],
]


@pytest.mark.parametrize(
    "argv", [argv for argv in STRONG if shutil.which(argv[0])], ids=lambda argv: " ".join(argv[:3])
)
def test_a_program_whose_options_run_programs_needs_its_arguments_said(tmp_path: Path, argv: list[str]):
    bench = Bench(tmp_path, Policy(programs={argv[0]: ProgramRule()}))

    with failing("denied", f"programs.{argv[0]}.arguments", "guard.toml"):
        bench.call(ShellRun(), argv=argv)
    assert list(bench.work.iterdir()) == []


def test_the_arguments_that_were_said_are_the_fence(tmp_path: Path):
    bench = Bench(tmp_path, Policy(programs={"tar": ProgramRule(arguments=("cf", r"[\w.]+"))}))
    (bench.work / "a").write_text("1", "utf-8")

    assert bench.call(ShellRun(), argv=["tar", "cf", "x.tar", "a"]).exit_code == 0
    with failing("denied", "--checkpoint-action"):
        bench.call(ShellRun(), argv=["tar", "cf", "x.tar", "--checkpoint-action=exec=id", "a"])


def test_it_would_have_been_run_indeed(tmp_path: Path):
    bench = Bench(tmp_path, Policy(programs={"tar": ProgramRule(inline_code=True)}))

    bench.call(ShellRun(), argv=[*STRONG[0][:-1], "--checkpoint-action=exec=touch harm"], check=False)

    assert (bench.work / "harm").exists()
