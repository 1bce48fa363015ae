"""Programs: what they are given, what comes back, and that nothing of them stays."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from device_agents.guard import Limits, Policy, ProgramRule
from device_agents.tools.running import OUTPUT_INLINE_MAX
from device_agents.tools.shell import ShellRun

from .bench import Bench, failing

GRACE_S = 0.2
LIVING = ProgramRule(inline_code=True, env=("*",))
WITH_SHELL = Policy(shell=True)  # noqa: S604  # a policy, and no call
FREE = Policy(programs={"sh": LIVING, sys.executable: LIVING}, limits=Limits(output_bytes=1 << 20, timeout_s=100))

# Each writes "alive" to the FIFO when it is set up, and holds the FIFO open as long as it lives.
SURVIVORS = {
    "the program itself": "live()",
    "a child": "os.fork() and wait() or live()",
    "a child that leads a session": "os.fork() and wait() or (os.setsid(), live())",
    "an orphan in a session of its own": "os.fork() and wait() or (os.setsid(), os.fork() and os._exit(0) or live())",
}
PROLOGUE = """
import os, signal, sys
def live():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    fifo = os.open(sys.argv[1], os.O_WRONLY)
    os.write(fifo, b"alive\\n")
    while True:
        signal.pause()
def wait():
    signal.pause()
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, FREE)


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def shell() -> ShellRun:
    return ShellRun(grace_s=GRACE_S)


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", script, *arguments]


def line(text: str) -> dict[str, str]:
    return {"shell": text}


def survivor(kind: str, fifo: Path) -> list[str]:
    return python(PROLOGUE + SURVIVORS[kind], str(fifo))


# What it gives and returns.


def test_a_program_gets_its_arguments_untouched_and_returns_both_outputs(bench: Bench):
    result = bench.call(shell(), argv=["sh", "-c", 'printf "%s|" "$@"; echo oops >&2', "sh", "a b", "*", "$HOME", "ü"])

    assert (result.exit_code, result.stdout, result.stderr) == (0, "a b|*|$HOME|ü|", "oops\n")
    assert result.stdout_artifact is result.stderr_artifact is None


def test_standard_input_is_the_text_of_the_call_or_nothing(bench: Bench):
    assert bench.call(shell(), argv=["sh", "-c", "cat"], stdin="zwölf").stdout == "zwölf"
    assert bench.call(shell(), argv=["sh", "-c", "cat"]).stdout == ""


def test_a_program_runs_in_the_work_folder_or_one_below(bench: Bench):
    (bench.work / "below").mkdir()

    assert bench.call(shell(), argv=["sh", "-c", "pwd -P"]).stdout.strip() == str(bench.work)
    assert bench.call(shell(), argv=["sh", "-c", "pwd -P"], cwd="below").stdout.strip() == str(bench.work / "below")
    with failing("not_found", "nowhere"):
        bench.call(shell(), argv=["sh", "-c", "pwd"], cwd="nowhere")
    with failing("denied", "folders.read"):
        bench.call(shell(), argv=["sh", "-c", "pwd"], cwd="..")


def test_the_environment_holds_nothing_of_the_agents_but_what_is_harmless(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("API_TOKEN", "secret")

    names = bench.call(shell(), argv=python("import os; print(*sorted(os.environ))"), env={"MINE": "1"}).stdout.split()

    assert {"MINE", "PATH", "LANG", "TMPDIR"} <= set(names)
    assert set(names) <= {"HOME", "LANG", "LC_CTYPE", "LOGNAME", "MINE", "PATH", "TMPDIR", "TZ", "USER"}


def test_signals_are_as_a_program_expects_them(bench: Bench):
    result = bench.call(shell(), argv=["sh", "-c", "yes | head -1; kill -TERM $$"], check=False)

    assert (result.exit_code, result.stdout, result.stderr) == (-signal.SIGTERM, "y\n", "")


def test_output_too_long_for_a_result_is_whole_in_an_artifact(bench: Bench):
    script = f"import sys; sys.stdout.write('ab' * {OUTPUT_INLINE_MAX}); sys.stderr.write('short')"

    result = bench.call(shell(), argv=python(script))

    assert result.stdout == "ab" * (OUTPUT_INLINE_MAX // 2)
    assert bench.shelf.content(result.stdout_artifact) == b"ab" * OUTPUT_INLINE_MAX
    assert (result.stderr, result.stderr_artifact) == ("short", None)


def test_output_that_is_no_text_is_whole_in_an_artifact_too(bench: Bench):
    result = bench.call(shell(), argv=python(r"import os; os.write(1, b'\xff' + b'\x00' * 20_000)"))

    assert result.stdout.startswith("\ufffd\x00")
    assert bench.shelf.content(result.stdout_artifact) == b"\xff" + b"\x00" * 20_000


# How it fails.


def test_an_exit_code_is_a_failure_with_the_last_words_of_the_program(bench: Bench):
    argv = ["sh", "-c", "echo " + "x" * 600 + " >&2; echo the reason >&2; exit 3"]

    with failing("exit_nonzero", "exit code 3", "the reason", retryable=True):
        bench.call(shell(), argv=argv)
    assert bench.call(shell(), argv=argv, check=False).exit_code == 3


def test_a_program_that_a_signal_ends_has_a_negative_exit_code(bench: Bench):
    with failing("exit_nonzero", "signal 9", retryable=True):
        bench.call(shell(), argv=["sh", "-c", "kill -9 $$"])
    assert bench.call(shell(), argv=["sh", "-c", "kill -9 $$"], check=False).exit_code == -signal.SIGKILL


def test_a_program_that_is_not_there_or_cannot_start_is_told_apart(tmp_path: Path):
    for name, content in (("gone", "#!/no/such/interpreter\n"), ("garbage", "no program")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    rules = {str(tmp_path / name): LIVING for name in ("gone", "garbage", "missing")}
    bench = Bench(tmp_path, Policy(programs=rules))

    with failing("program_not_found", "missing"):
        bench.call(shell(), argv=[str(tmp_path / "missing")])
    with failing("program_not_found", "gone"):
        bench.call(shell(), argv=[str(tmp_path / "gone")])
    with failing("not_executable", "garbage"):
        bench.call(shell(), argv=[str(tmp_path / "garbage")])


def test_arguments_that_no_system_takes_are_too_large(bench: Bench):
    with failing("too_large", "sh"):
        bench.call(shell(), argv=["sh", "-c", ":", *["x" * 32_000] * 200])


def test_a_flood_of_output_ends_the_program(bench: Bench):
    with failing("output_too_large", str(1 << 20)):
        bench.call(shell(), argv=["sh", "-c", "yes & yes >&2"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
def test_a_full_disk_ends_the_program(bench: Bench):
    bench.context.scratch.mkdir(parents=True)
    (bench.context.scratch / "stdout").symlink_to("/dev/full")

    with failing("disk_full", "the output", retryable=True):
        bench.call(shell(), argv=["sh", "-c", "yes"])


def test_programs_and_timeouts_beyond_the_policy_are_refused(bench: Bench):
    with failing("denied", "[programs.ls]"):
        bench.call(shell(), argv=["ls"])
    with failing("denied", "limits.timeout_s"):
        bench.call(shell(), argv=["sh", "-c", ":"], timeout_s=101)


def test_a_command_line_needs_the_owners_word_and_then_is_one(tmp_path: Path):
    (tmp_path / "open").mkdir()
    opened = Bench(tmp_path / "open", WITH_SHELL)

    assert opened.call(shell(), **line("echo a b | wc -w")).stdout.strip() == "2"
    with failing("exit_nonzero", "command line", retryable=True):
        opened.call(shell(), **line("exit 1"))
    with failing("denied", "shell = true"):
        Bench(tmp_path).call(shell(), **line("echo"))


def test_a_call_has_either_a_program_or_a_command_line(bench: Bench):
    with failing("bad_arguments", "either"):
        bench.call(shell())
    with failing("bad_arguments", "either"):
        bench.call(shell(), argv=["sh"], **line("echo"))


def test_a_program_that_kills_its_keeper_dies_with_it(bench: Bench, fifo: Path):
    killing = "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.kill(os.getppid(), 9); live()"

    with failing("killed", "keeper", retryable=True):
        bench.call(shell(), argv=python(PROLOGUE + killing, str(fifo)))


# Nothing of it stays.


@pytest.mark.parametrize("kind", SURVIVORS)
def test_a_timeout_ends_everything_that_the_call_started(bench: Bench, fifo: Path, kind: str):
    witness = Witness(fifo)

    with failing("timeout", "1 s", retryable=True):
        bench.call(shell(), argv=survivor(kind, fifo), timeout_s=1)

    assert witness.saw_the_end()


@pytest.mark.parametrize("kind", SURVIVORS)
def test_a_cancelled_call_ends_everything_that_it_started(bench: Bench, fifo: Path, kind: str):
    witness = Witness(fifo)

    async def cancelled() -> None:
        call, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert call is not None
        witness.then(lambda: loop.call_soon_threadsafe(call.cancel))
        with pytest.raises(asyncio.CancelledError):
            await bench.run(shell(), argv=survivor(kind, fifo))

    asyncio.run(cancelled())

    assert witness.saw_the_end()


def test_a_cancelled_program_has_the_grace_that_it_was_given_and_no_more(bench: Bench, fifo: Path):
    """It resists for ever: SIGKILL is what ends it, and only when the given grace is over."""
    witness, grace_s = Witness(fifo), 0.7
    took_s = asyncio.run(cancelled_once_alive(bench, fifo, witness, grace_s))

    assert witness.saw_the_end()
    assert grace_s <= took_s < grace_s + 3.0


def test_a_program_that_is_cancelled_again_is_killed_at_once(bench: Bench, fifo: Path):
    witness = Witness(fifo)
    took_s = asyncio.run(cancelled_once_alive(bench, fifo, witness, 60.0, again=True))

    assert witness.saw_the_end()
    assert took_s < 5.0


def test_a_program_without_any_grace_is_not_even_told(bench: Bench, fifo: Path):
    witness = Witness(fifo)
    told = bench.work / "told"
    script = f"signal.signal(signal.SIGTERM, lambda *_: open({str(told)!r}, 'w').close());"
    telling = PROLOGUE.replace("    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n", "")
    argv = python(telling + script + "live()", str(fifo))
    asyncio.run(cancelled_once_alive(bench, fifo, witness, 0.0, argv=argv))

    assert witness.saw_the_end()
    assert not told.exists()


async def cancelled_once_alive(bench, fifo, witness, grace_s, *, again=False, argv=None) -> float:
    """Cancel a call when its program is set up, and return how long it took to end."""
    call, loop = asyncio.current_task(), asyncio.get_running_loop()
    at: list[float] = []

    def cancel() -> None:
        at.append(loop.time())
        call.cancel()
        if again:
            loop.call_later(0.2, call.cancel)

    bench.context.grace.s = grace_s
    witness.then(lambda: loop.call_soon_threadsafe(cancel))
    with pytest.raises(asyncio.CancelledError):
        await bench.run(shell(), argv=argv or survivor("a child that leads a session", fifo))
    return loop.time() - at[0]


def test_what_a_program_leaves_running_ends_with_it(bench: Bench, fifo: Path):
    witness = Witness(fifo)
    leaving = "os.fork() and (signal.sigwait({signal.SIGUSR1}), print('left'), os._exit(0)) or (os.setsid(), live())"
    blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1});"
    telling = PROLOGUE.replace("while True", "os.kill(os.getppid(), signal.SIGUSR1)\n    while True")

    result = bench.call(shell(), argv=python(telling + blocked + leaving, str(fifo)), timeout_s=20)

    assert result.exit_code == 0
    assert witness.saw_the_end()


@pytest.mark.parametrize("kind", SURVIVORS)
def test_an_agent_that_is_killed_takes_everything_with_it(tmp_path: Path, fifo: Path, kind: str):
    agent = subprocess.Popen([sys.executable, "-c", AGENT, str(tmp_path), *survivor(kind, fifo)])
    witness = Witness(fifo)

    witness.then(agent.kill)

    assert agent.wait() == -signal.SIGKILL
    assert witness.saw_the_end()


AGENT = """
import sys
from pathlib import Path
from tests.device_agents.tools.bench import Bench
from tests.device_agents.tools.test_shell import FREE, shell
Bench(Path(sys.argv[1]), FREE).call(shell(), argv=sys.argv[2:], timeout_s=100)
"""


class Witness:
    """Reads the FIFO that a program's last descendant holds open: its end is theirs."""

    def __init__(self, fifo: Path) -> None:
        self._said: list[str] = []
        self._begun = threading.Event()
        self._reader = threading.Thread(target=self._read, args=(fifo,), daemon=True)
        self._reader.start()

    def then(self, act: object) -> None:
        """Call it once somebody is alive."""
        threading.Thread(target=lambda: (self._begun.wait(20), act()), daemon=True).start()  # type: ignore[operator]

    def saw_the_end(self) -> bool:
        self._reader.join(5)
        return not self._reader.is_alive() and self._said == ["alive\n"]

    def _read(self, fifo: Path) -> None:
        with fifo.open() as lines:
            for line in lines:
                self._said.append(line)
                self._begun.set()
