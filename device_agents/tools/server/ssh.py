"""The tool that runs a program on a further host by SSH: one that `agent.toml` names, with a key and its host key."""

import asyncio
import shlex
import time
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from ..base import ArtifactRef, Context
from ..beneath import told
from ..blocking import unblocked
from ..running import OUTPUT_INLINE_MAX, exit_nonzero, kept, side_by_side
from ..shell import STDIN_CHARS_MAX, Word
from ..spool import Spool
from ..wanted import library
from .settings import SshSettings

_CONNECT_S = 15.0
_PIECE_BYTES = 32 << 10


class SshArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where, and what is run."""

    host: Annotated[str, Meta(max_length=100, description="One that the device's owner has named.")]
    argv: Annotated[tuple[Word, ...], Meta(min_length=1, max_length=1_000, description="Quoted for the host's shell.")]
    stdin: Annotated[str, Meta(max_length=STDIN_CHARS_MAX)] = ""
    timeout_s: Annotated[float, Meta(gt=0, le=86_400, description="After it, the connection is closed.")] = 60
    check: Annotated[bool, Meta(description="Whether an exit code other than 0 is a failure.")] = True


class SshResult(Struct, frozen=True, omit_defaults=True):
    """How it went. Output that is too long is cut, and whole in the artifact."""

    exit_code: Annotated[int, Meta(description="-1: a signal ended it.")]
    stdout: str
    stderr: str
    duration_s: float
    stdout_artifact: ArtifactRef | None = None
    stderr_artifact: ArtifactRef | None = None


class SshRun:
    """Run a program on a further host that this device knows, by SSH, and return its exit code and output."""

    name: ClassVar[str] = "ssh.run"
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {"inline_bytes": OUTPUT_INLINE_MAX, "stdin_chars": STDIN_CHARS_MAX}
    Arguments: ClassVar[type[Struct]] = SshArguments
    Result: ClassVar[type[Struct]] = SshResult

    def __init__(self, hosts: dict[str, SshSettings]) -> None:
        self._hosts = hosts

    async def probe(self, guard: Guard) -> None:
        if not self._hosts:
            raise ToolFailed("unavailable", "no host is named: a table [server.ssh.NAME] in agent.toml does it")
        await unblocked(lambda _: self._check())

    def _check(self) -> None:
        library("asyncssh", "ssh")
        missing = [each.key for each in self._hosts.values() if not Path(each.key).expanduser().is_file()]
        if len(missing) == len(self._hosts):
            raise ToolFailed("unavailable", f"none of the keys is there: {', '.join(missing)}")

    async def run(self, arguments: SshArguments, context: Context) -> SshResult:
        context.guard.check_timeout(arguments.timeout_s)
        host = self._host(arguments)
        ssh: Any = await unblocked(lambda _: library("asyncssh", "ssh"))
        keys = await unblocked(lambda _: _keys(ssh, host))
        begun = time.monotonic()
        stdout = Spool(context.scratch / "stdout", head_bytes_max=OUTPUT_INLINE_MAX)
        stderr = Spool(context.scratch / "stderr", head_bytes_max=OUTPUT_INLINE_MAX)
        try:
            async with asyncio.timeout(arguments.timeout_s), _connection(ssh, host, keys) as connection:
                exit_code = await _ran(connection, arguments, (stdout, stderr), context.guard.limits.output_bytes)
        except TimeoutError:
            raise ToolFailed("timeout", f"not done on {arguments.host} after {arguments.timeout_s:g} s") from None
        except ssh.HostKeyNotVerifiable as exc:
            raise ToolFailed("wrong_host", f"{arguments.host} has another key than agent.toml says: {exc}") from exc
        except ssh.PermissionDenied as exc:
            raise ToolFailed("not_permitted", f"{arguments.host} does not take this device's key: {exc}") from exc
        except ssh.Error as exc:
            raise ToolFailed("connection_lost", f"{arguments.host}: {exc}"[:500]) from exc
        except OSError as exc:
            raise ToolFailed("unreachable", f"{arguments.host}: {exc.strerror or exc}", retryable=True) from exc
        if exit_code != 0 and arguments.check:
            raise exit_nonzero(arguments.argv[0], exit_code, stderr if stderr.count else stdout)
        seconds = round(time.monotonic() - begun, 3)
        out, out_artifact = await kept(stdout, context)
        err, err_artifact = await kept(stderr, context)
        return SshResult(exit_code, out, err, seconds, out_artifact, err_artifact)

    def _host(self, arguments: SshArguments) -> SshSettings:
        name, wanted = arguments.host, arguments.argv[0]
        host = self._hosts.get(name)
        if host is None:
            raise ToolFailed("denied", f"no host {name!r} is named; a table [server.ssh.NAME] in agent.toml does it")
        # A pattern may match such a name, and the host's shell would read another one.
        if "=" in wanted or ".." in wanted.split("/"):
            raise ToolFailed("bad_arguments", f"{wanted[:200]!r} is no program: no = and no .. in its name")
        if not any(fnmatchcase(wanted, pattern) for pattern in host.programs):
            setting = f"server.ssh.{name}.programs in agent.toml"
            raise ToolFailed("denied", f"{wanted} may not be run on {name}; its name in {setting} would allow it")
        return host


def _keys(ssh: Any, host: SshSettings) -> tuple[Any, Any]:
    """Return the one key that is shown, and the one that the host must have; raise ToolFailed bad_key."""
    try:
        with told(host.key):
            key = ssh.read_private_key(str(Path(host.key).expanduser()))
        return key, ssh.import_known_hosts(f"[{host.host}]:{host.port} {host.host_key}\n{host.host} {host.host_key}\n")
    except ValueError as exc:  # of which the library's own errors of keys are kinds
        raise ToolFailed(
            "bad_key", f"{host.key}, or host_key in agent.toml, is no key that can be used: {exc}"
        ) from exc


def _connection(ssh: Any, host: SshSettings, keys: tuple[Any, Any]) -> Any:
    """Return what connects: with the one key, to the one host key, and with nothing of the user's own settings."""
    return ssh.connect(
        host.host,
        host.port,
        username=host.user,
        client_keys=[keys[0]],
        known_hosts=keys[1],
        config=[],
        agent_path=None,
        agent_forwarding=False,
        preferred_auth="publickey",
        connect_timeout=_CONNECT_S,
        login_timeout=_CONNECT_S,
        keepalive_interval=15,
    )


async def _ran(connection: Any, arguments: SshArguments, spools: tuple[Spool, Spool], bytes_max: int) -> int:
    try:
        process = await connection.create_process(shlex.join(arguments.argv), encoding=None)
        with suppress(BrokenPipeError):  # it ended without having read it
            process.stdin.write(arguments.stdin.encode())
            process.stdin.write_eof()
        out, err = spools
        await side_by_side(_read(process.stdout, out, spools, bytes_max), _read(process.stderr, err, spools, bytes_max))
        how = await process.wait(check=False)
    except OSError as exc:  # from here on the program may run there
        raise ToolFailed("connection_lost", f"{arguments.host}: {exc.strerror or exc}") from exc
    if how.exit_status is None and how.exit_signal is None:
        raise ToolFailed("connection_lost", f"{arguments.host} has not told how {arguments.argv[0]} ended")
    return -1 if how.exit_status is None else int(how.exit_status)


async def _read(output: Any, spool: Spool, spools: tuple[Spool, Spool], bytes_max: int) -> None:
    while piece := await output.read(_PIECE_BYTES):
        if sum(each.count for each in spools) + len(piece) > bytes_max:
            raise ToolFailed("output_too_large", f"the program wrote more than {bytes_max} bytes")
        with told("the output"):
            await spool.write(piece)
