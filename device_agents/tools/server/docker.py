"""The tools that look at containers, and restart those that `agent.toml` names: where Docker's socket is."""

import asyncio
import struct
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

import httpx2
import msgspec
from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ...guard import Guard
from ..base import ArtifactRef, Context
from ..blocking import unblocked
from ..running import OUTPUT_INLINE_MAX, kept
from ..spool import Spool
from .settings import ServerSettings

CONTAINERS_MAX = 200
LINES_MAX = 5_000
_TIMEOUT_S = 30.0
_ANSWER_BYTES_MAX = 8 << 20
ContainerName = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", description="A name or an id.")]


class _Daemon:
    """Docker's own HTTP, over its socket."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def probe(self) -> None:
        if not await unblocked(lambda _: Path(self._socket).is_socket()):
            raise ToolFailed("unavailable", f"there is no socket of Docker at {self._socket} (server.docker_socket)")
        await self.asked("GET", "/_ping")

    async def asked(self, method: str, path: str, **parameters: str) -> bytes:
        """Return what the daemon answers; raise ToolFailed."""
        transport = httpx2.AsyncHTTPTransport(uds=self._socket)
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                httpx2.AsyncClient(transport=transport, base_url="http://docker", timeout=_TIMEOUT_S) as client,
                client.stream(method, path, params=parameters) as response,
            ):
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _ANSWER_BYTES_MAX:
                        raise ToolFailed("output_too_large", f"Docker said more than {_ANSWER_BYTES_MAX} bytes")
        except httpx2.ConnectError as exc:
            raise ToolFailed("unavailable", f"Docker cannot be reached: {exc}", retryable=True) from exc
        except (TimeoutError, httpx2.TimeoutException) as exc:  # it has heard the question, and may do as it says
            raise ToolFailed("timeout", f"Docker has not answered in {_TIMEOUT_S:g} s", retryable=True) from exc
        except httpx2.HTTPError as exc:
            raise ToolFailed(
                "connection_lost", f"Docker broke off: {type(exc).__name__}: {exc}", retryable=True
            ) from exc
        if response.status_code == 404:
            raise ToolFailed("not_found", _words(body))
        if response.status_code >= 400:
            raise ToolFailed("docker_error", _words(body), retryable=response.status_code >= 500)
        return bytes(body)


def _words(body: bytearray) -> str:
    try:
        return str(msgspec.json.decode(body, type=dict[str, Any])["message"])[:500]
    except (msgspec.DecodeError, KeyError, RecursionError):
        return body.decode("utf-8", "replace")[:500]


class ListArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which containers."""

    stopped: Annotated[bool, Meta(description="Whether those that do not run count as well.")] = False


class Container(Struct, frozen=True):
    """One container. Not its environment: secrets stand there."""

    name: str
    image: str
    state: str
    status: str
    created: Annotated[int, Meta(description="Seconds since 1970.")]


class ListResult(Struct, frozen=True):
    """The containers."""

    containers: list[Container]
    truncated: bool


class DockerList:
    """List the containers of this device with their images and states."""

    name: ClassVar[str] = "docker.list"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"containers": CONTAINERS_MAX}
    Arguments: ClassVar[type[Struct]] = ListArguments
    Result: ClassVar[type[Struct]] = ListResult

    def __init__(self, settings: ServerSettings) -> None:
        self._daemon = _Daemon(settings.docker_socket)

    async def probe(self, guard: Guard) -> None:
        await self._daemon.probe()

    async def run(self, arguments: ListArguments, context: Context) -> ListResult:
        body = await self._daemon.asked("GET", "/containers/json", all=str(arguments.stopped).lower())
        found = msgspec.json.decode(body, type=list[dict[str, Any]])
        return ListResult([_container(each) for each in found[:CONTAINERS_MAX]], len(found) > CONTAINERS_MAX)


def _container(said: dict[str, Any]) -> Container:
    names = said.get("Names") or [said.get("Id", "")]
    texts = (str(names[0]).lstrip("/"), *(str(said.get(key, "")) for key in ("Image", "State", "Status")))
    name, image, state, status = (text[:128] for text in texts)
    return Container(name, image, state, status, int(said.get("Created") or 0))


class LogsArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which container, and how much of its log."""

    container: ContainerName
    lines: Annotated[int, Meta(ge=1, le=LINES_MAX)] = 200


class LogsResult(Struct, frozen=True, omit_defaults=True):
    """The end of its log; cut where it is long, and whole in the artifact."""

    text: str
    artifact: ArtifactRef | None = None


class DockerLogs:
    """Read the last lines that a container has written."""

    name: ClassVar[str] = "docker.logs"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {"lines": LINES_MAX}
    Arguments: ClassVar[type[Struct]] = LogsArguments
    Result: ClassVar[type[Struct]] = LogsResult

    def __init__(self, settings: ServerSettings) -> None:
        self._daemon = _Daemon(settings.docker_socket)

    async def probe(self, guard: Guard) -> None:
        await self._daemon.probe()

    async def run(self, arguments: LogsArguments, context: Context) -> LogsResult:
        path = f"/containers/{quote(arguments.container, safe='')}/logs"
        body = await self._daemon.asked("GET", path, stdout="1", stderr="1", tail=str(arguments.lines))
        spool = Spool(context.scratch / "log", head_bytes_max=OUTPUT_INLINE_MAX)
        await spool.write(await unblocked(lambda _: unframed(body)))
        return LogsResult(*await kept(spool, context))


def unframed(body: bytes) -> bytes:
    """Return the text of a log: without a terminal, each piece has 8 bytes before it that say its stream and length."""
    text, at = bytearray(), 0
    while at + 8 <= len(body):
        stream, length = struct.unpack_from(">BxxxI", body, at)
        if stream > 2 or body[at + 1 : at + 4] != b"\0\0\0":
            return body  # it has a terminal, and there are no frames
        text += body[at + 8 : at + 8 + length]
        at += 8 + length
    return bytes(text) if at else body


class RestartArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which container."""

    container: ContainerName


class RestartResult(Struct, frozen=True):
    """It has been restarted."""

    container: str


class DockerRestart:
    """Restart a container that the device's owner has named for it."""

    name: ClassVar[str] = "docker.restart"
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = RestartArguments
    Result: ClassVar[type[Struct]] = RestartResult

    def __init__(self, settings: ServerSettings) -> None:
        self._daemon = _Daemon(settings.docker_socket)
        self._allowed = settings.docker_restart

    async def probe(self, guard: Guard) -> None:
        await self._daemon.probe()

    async def run(self, arguments: RestartArguments, context: Context) -> RestartResult:
        name = arguments.container
        if not any(fnmatchcase(name, pattern) for pattern in self._allowed):
            setting = "its name in server.docker_restart in agent.toml"
            raise ToolFailed("denied", f"the container {name} may not be restarted; {setting} would allow it")
        await self._daemon.asked("POST", f"/containers/{quote(name, safe='')}/restart", t="10")
        return RestartResult(name)
