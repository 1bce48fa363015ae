"""The tool that runs programs."""

import time
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ..errors import ToolFailed
from ..guard import Guard, ProgramCall
from .base import ArtifactRef, Context
from .blocking import unblocked
from .program import GRACE_S, Launch
from .running import OUTPUT_INLINE_MAX, environment, exit_nonzero, kept, ran

STDIN_CHARS_MAX = 256 << 10
_WORDS_MAX = 1_000

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
        place = context.guard.readable(arguments.cwd)
        launch = await unblocked(lambda _: self._judged(arguments, place.path, context))
        begun = time.monotonic()
        how = await ran(launch, place, context, arguments.timeout_s)
        if how.exit_code != 0 and arguments.check:
            name = arguments.argv[0] if arguments.argv else "the command line"
            raise exit_nonzero(name, how.exit_code, how.words)
        seconds = round(time.monotonic() - begun, 3)
        out, out_artifact = await kept(how.stdout, context)
        err, err_artifact = await kept(how.stderr, context)
        return ShellResult(how.exit_code, out, err, seconds, out_artifact, err_artifact)

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
        env = environment(guard, context.scratch, arguments.env)
        argv = arguments.argv or ("sh", "-c", arguments.shell)
        return Launch(executable, argv, env, stdin, context.grace, self._grace_s)
