"""The tool that looks whether something listens, under the rules of the one that asks web servers."""

import asyncio
from contextlib import suppress
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ..errors import ToolFailed
from .base import Context
from .http import Resolve, allowed_addresses, resolved


class PortArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where to look."""

    host: Annotated[str, Meta(max_length=253, pattern="^[A-Za-z0-9._:-]+$", description="A name or an address.")]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    timeout_s: Annotated[float, Meta(gt=0, le=60, description="For all of it.")] = 5


class PortResult(Struct, frozen=True):
    """What was found."""

    open: bool
    cause: Annotated[str, Meta(description="Why it is not open; else empty.")]


class NetPort:
    """Look whether a TCP port of a host takes connections. Nothing is sent. Hosts and ports are as for http.request."""

    name: ClassVar[str] = "net.port"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = PortArguments
    Result: ClassVar[type[Struct]] = PortResult

    def __init__(self, *, resolve: Resolve = resolved) -> None:
        self._resolve = resolve

    async def run(self, arguments: PortArguments, context: Context) -> PortResult:
        host, port = arguments.host.casefold(), arguments.port
        context.guard.check_timeout(arguments.timeout_s)
        context.guard.check_origin(host, port)
        try:
            async with asyncio.timeout(arguments.timeout_s):
                cause = await _cause(await allowed_addresses(self._resolve, context.guard, host, port), port)
        except TimeoutError:
            cause = f"no answer in {arguments.timeout_s:g} s"
        except ToolFailed as exc:
            if exc.failure.code != "host_not_found":
                raise
            cause = exc.failure.message  # that a name leads nowhere is what was found
        return PortResult(not cause, cause)


async def _cause(addresses: list[str], port: int) -> str:
    """Return why none of the addresses takes a connection, or nothing if one does."""
    cause = ""
    for address in addresses:
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError as exc:
            cause = f"{address}: {exc.strerror or exc}"
            continue
        writer.close()
        with suppress(OSError):  # whoever listens there may hang up first
            await writer.wait_closed()
        return ""
    return cause
