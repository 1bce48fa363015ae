"""The tool that runs programs."""

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ..errors import ToolFailed
from ..guard import Guard, ProgramCall
from .base import ArtifactRef, Context
from .beneath import folder, told
from .blocking import unblocked
from .program import GRACE_S, Launch, Program
from .spool import Spool

OUTPUT_INLINE_MAX = 24 << 10  # of each of the two streams
STDIN_CHARS_MAX = 256 << 10
_WORDS_MAX = 1_000
_LAST_WORDS_CHARS = 500
_KEPT_VARIABLES = ("HOME", "USER", "LOGNAME", "LANG", "TZ")  # not the agent's whole environment: it may hold secrets

Word = Annotated[str, Meta(max_length=32_000, pattern="^[^\\x00]*$")]
VariableName = Annotated[str, Meta(max_length=200, pattern="^[A-Za-z_][A-Za-z0-9_]*$")]


class ShellArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is run. Exactly one of `argv` and `shell`."""

    argv: Annotated[
        tuple[Word, ...],
        Meta(max_length=_WORDS_MAX, description="The program and its arguments, as they are: no shell reads them."),
    ] = ()
    shell: Annotated[
        Word, Meta(description="A command line for /bin/sh instead. Only where the device's owner allows it.")
    ] = ""
    cwd: Annotated[Word, Meta(description="The folder to run in, relative to the work folder.")] = "."
    env: Annotated[
        dict[VariableName, Word], Meta(max_length=100, description="Variables added to a minimal environment.")
    ] = {}
    stdin: Annotated[str, Meta(max_length=STDIN_CHARS_MAX, description="Text for the standard input.")] = ""
    timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="After it, all is killed that the call started.")] = (
        60
    )
    check: Annotated[bool, Meta(description="Whether an exit code other than 0 is a failure.")] = True


class ShellResult(Struct, frozen=True, omit_defaults=True):
    """How it went. Output that is too long is cut, and whole in the artifact."""

    exit_code: Annotated[int, Meta(description="Negative: the signal that the program died of.")]
    stdout: str
    stderr: str
    duration_s: float
    stdout_artifact: ArtifactRef | None = None
    stderr_artifact: ArtifactRef | None = None


class ShellRun:
    """Run a program of the device and return its exit code and output. What it leaves running is killed."""

    name: ClassVar[str] = "shell.run"
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {"inline_bytes": OUTPUT_INLINE_MAX, "stdin_chars": STDIN_CHARS_MAX}
    Arguments: ClassVar[type[Struct]] = ShellArguments
    Result: ClassVar[type[Struct]] = ShellResult

    def __init__(self, *, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s

    async def probe(self, guard: Guard) -> None:
        await unblocked(lambda _: guard.check_programs())

    async def run(self, arguments: ShellArguments, context: Context) -> ShellResult:
        context.guard.check_timeout(arguments.timeout_s)
        stdout = Spool(context.scratch / "stdout", head_bytes_max=OUTPUT_INLINE_MAX)
        stderr = Spool(context.scratch / "stderr", head_bytes_max=OUTPUT_INLINE_MAX)
        begun = time.monotonic()
        exit_code = await self._run(arguments, context, stdout, stderr)
        if exit_code != 0 and arguments.check:
            name = arguments.argv[0] if arguments.argv else "the command line"
            raise _exit_nonzero(name, exit_code, stderr if stderr.count else stdout)
        seconds = round(time.monotonic() - begun, 3)
        kept = [await _kept(output, context) for output in (stdout, stderr)]
        (out, out_artifact), (err, err_artifact) = kept
        return ShellResult(exit_code, out, err, seconds, out_artifact, err_artifact)

    async def _run(self, arguments: ShellArguments, context: Context, stdout: Spool, stderr: Spool) -> int:
        place = context.guard.readable(arguments.cwd)
        launch = await unblocked(lambda _: self._judged(arguments, place.path, context))
        with told(place.path), folder(place) as opened, told(launch.argv[0]):
            program = Program(launch, cwd=_named(opened, place.path))
        try:
            async with asyncio.timeout(arguments.timeout_s):
                return await program.ended(stdout, stderr, bytes_max=context.guard.limits.output_bytes)
        except TimeoutError:
            message = f"{launch.argv[0]} was stopped after {arguments.timeout_s:g} s{_last_words(stderr)}"
            raise ToolFailed("timeout", message, retryable=True) from None
        finally:
            await program.gone()

    def _judged(self, arguments: ShellArguments, cwd: Path, context: Context) -> Launch:
        guard = context.guard
        if bool(arguments.argv) == bool(arguments.shell):
            raise ToolFailed("bad_arguments", "give either argv or shell")
        if arguments.shell:
            guard.check_shell()
            executable = Path("/bin/sh")
        else:
            executable = guard.program(ProgramCall(arguments.argv, cwd, frozenset(arguments.env)))
        context.scratch.mkdir(parents=True, exist_ok=True)
        stdin = context.scratch / "stdin"
        stdin.write_text(arguments.stdin, "utf-8")
        env = {name: value for name in _KEPT_VARIABLES if (value := os.environ.get(name))}
        env = {"LANG": "C.UTF-8", **env, "PATH": guard.program_path, "TMPDIR": str(context.scratch), **arguments.env}
        argv = arguments.argv or ("sh", "-c", arguments.shell)
        return Launch(executable, argv, env, stdin, context.grace, self._grace_s)


def _named(folder: int, path: Path) -> str:
    """Return a name of the open folder that no link can turn elsewhere, where the system has such names."""
    return f"/proc/self/fd/{folder}" if os.path.exists("/proc/self/fd") else str(path)


def _exit_nonzero(name: str, exit_code: int, output: Spool) -> ToolFailed:
    how = f"exit code {exit_code}" if exit_code > 0 else f"signal {-exit_code}"
    return ToolFailed("exit_nonzero", f"{name} ended with {how}{_last_words(output)}", retryable=True)


def _last_words(output: Spool) -> str:
    text = output.tail.decode("utf-8", "replace").strip()[-_LAST_WORDS_CHARS:]
    return f": {text}" if text else ""


async def _kept(output: Spool, context: Context) -> tuple[str, ArtifactRef | None]:
    """Return what of the output a result can hold, and where all of it is if that is not everything."""
    text = output.text(OUTPUT_INLINE_MAX)
    return text, None if output.is_said_by(text) else await output.artifact(context.shelf, "text/plain")
