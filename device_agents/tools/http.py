"""The tool that asks web servers, and what keeps it from asking those that only its device can reach.

A host's name is looked up once; the addresses are judged by the guard, and the connection goes to one of those and to
nothing else, with the name where TLS and HTTP want it. A name that leads elsewhere a moment later changes nothing.
"""

import asyncio
import base64
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import httpx2
import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from protocol.vocabulary import Effect

from ..errors import ToolFailed
from ..guard import Guard
from .base import ArtifactRef, Context
from .beneath import told
from .blocking import unblocked
from .spool import INLINE_BASE64_MAX, INLINE_BYTES_MAX, Spool, fits

REDIRECTS_MAX = 5
_ADDRESSES_MAX = 4  # that are tried
_HEADERS_INLINE_MAX = 6 << 10
_WORDS_BYTES = 500  # of an answer that is a failure
_PORTS = {"http": 80, "https": 443}

# What belongs to the connection is ours to say, and not the call's.
_OWN_HEADERS = {
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer"),
    *("proxy-authorization", "proxy-connection", "accept-encoding", "expect"),
}
# What may go along to another origin; everything else could be a secret for the first one.
_HARMLESS_HEADERS = {"accept", "accept-language", "content-type", "user-agent"}
_REDIRECTS = {301, 302, 303, 307, 308}
_REPEATABLE = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}  # of the others nobody knows whether they were done
_WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


async def resolved(host: str, port: int) -> list[str]:
    """Return the addresses that the system knows for the host; raise OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def allowed_addresses(resolve: Resolve, guard: Guard, host: str, port: int) -> list[str]:
    """Return the addresses to try, each of which the guard has seen; raise ToolFailed: host_not_found, denied."""
    try:
        addresses = await resolve(host, port)
    except (OSError, UnicodeError) as exc:
        raise ToolFailed("host_not_found", f"{host}: {exc}", retryable=True) from exc
    allowed, refused = [], ToolFailed("host_not_found", f"{host} has no address", retryable=True)
    for address in addresses:
        try:
            guard.check_address(host, address)
            allowed.append(address)
        except ToolFailed as exc:
            refused = exc
    if not allowed:
        raise refused
    return allowed[:_ADDRESSES_MAX]


class RequestArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is asked. At most one of `text` and `json`."""

    url: Annotated[str, Meta(max_length=8_000, description="http or https, without a user's name or password.")]
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    headers: Annotated[
        dict[
            Annotated[str, Meta(max_length=200, pattern="^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")],
            Annotated[str, Meta(max_length=8_000, pattern="^[\\t\\x20-\\x7e]*$")],
        ],
        Meta(max_length=100),
    ] = {}
    text: Annotated[str, Meta(description="The body, as UTF-8.")] | None = None
    json: Annotated[Any, Meta(description="The body, as JSON.")] | UnsetType = UNSET
    timeout_s: Annotated[float, Meta(gt=0, le=3_600, description="For all of it, redirects included.")] = 30
    bytes_max: Annotated[int, Meta(ge=0, le=1 << 30, description="Of the body; a longer one is a failure.")] = 16 << 20
    follow_redirects: bool = True
    check: Annotated[bool, Meta(description="Whether a status of 400 or more is a failure.")] = True


class RequestResult(Struct, frozen=True, omit_defaults=True):
    """The last answer. A body is text, base64 where it is no text, or an artifact where it is long."""

    status: int
    url: Annotated[str, Meta(description="Where the answer is from, redirects followed.")]
    headers: Annotated[dict[str, str], Meta(description="Names in lower case.")]
    bytes: Annotated[int, Meta(description="Of the body.")]
    body: str | None = None
    body_base64: str | None = None
    body_artifact: ArtifactRef | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as it goes out to one origin."""

    method: str
    url: httpx2.URL
    headers: dict[str, str]
    content: bytes | None

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.url.scheme, self.url.raw_host.decode("ascii"), self.url.port or _PORTS[self.url.scheme]

    def redirected(self, status: int, location: str) -> "Asked":
        """Return the request that follows: no secrets for another origin, and a GET where browsers turn to one."""
        target = _parsed(location, self.url)
        next_method, content = self.method, self.content
        if (status == 303 and self.method != "HEAD") or (status in {301, 302} and self.method == "POST"):
            next_method, content = "GET", None
        follower = Asked(next_method, target, self.headers, content)
        keeps = follower.origin == self.origin
        headers = {
            name: value
            for name, value in self.headers.items()
            if (keeps or name in _HARMLESS_HEADERS) and (content is not None or name != "content-type")
        }
        return Asked(next_method, target, headers, content)


class HttpRequest:
    """Ask a web server. For a GET, whose repetition is harmless, let the star declare `effects: pure`."""

    name: ClassVar[str] = "http.request"
    effect: ClassVar[Effect] = Effect.ONCE
    limits: ClassVar[dict[str, int | float]] = {"inline_bytes": INLINE_BYTES_MAX, "redirects": REDIRECTS_MAX}
    Arguments: ClassVar[type[Struct]] = RequestArguments
    Result: ClassVar[type[Struct]] = RequestResult

    def __init__(self, *, resolve: Resolve = resolved, trusted: ssl.SSLContext | None = None) -> None:
        self._resolve = resolve
        self._trusted = trusted

    async def run(self, arguments: RequestArguments, context: Context) -> RequestResult:
        context.guard.check_timeout(arguments.timeout_s)
        asked = _asked(arguments)
        if self._trusted is None:
            self._trusted = await unblocked(lambda _: httpx2.create_ssl_context())  # takes long enough to be kept
        # No proxies or netrc of the environment, no cookies, no redirects but those that are judged here.
        client = httpx2.AsyncClient(verify=self._trusted, trust_env=False, follow_redirects=False, timeout=None)
        try:
            async with asyncio.timeout(arguments.timeout_s), client:
                return await self._answered(Exchange(client, self._resolve, context.guard), asked, arguments, context)
        except TimeoutError:
            message = f"no whole answer in {arguments.timeout_s:g} s"
            raise ToolFailed("timeout", message, retryable=arguments.method in _REPEATABLE) from None
        except httpx2.HTTPError as exc:
            message = f"{asked.url}: {str(exc) or type(exc).__name__}"
            raise ToolFailed("broken_answer", message, retryable=arguments.method in _REPEATABLE) from exc

    async def _answered(
        self, exchange: "Exchange", asked: Asked, arguments: RequestArguments, context: Context
    ) -> RequestResult:
        for _ in range(REDIRECTS_MAX + 1):
            response = await exchange.send(asked)
            try:
                location = response.headers.get("location")
                if response.status_code in _REDIRECTS and location and arguments.follow_redirects:
                    asked = asked.redirected(response.status_code, location)
                    continue
                return await _result(response, asked, arguments, context)
            finally:
                await response.aclose()
        raise ToolFailed("too_many_redirects", f"more than {REDIRECTS_MAX}, the last to {asked.url}")


@dataclass(frozen=True, slots=True)
class Exchange:
    """How a request goes out: to an address that the guard has seen."""

    client: httpx2.AsyncClient
    resolve: Resolve
    guard: Guard

    async def send(self, asked: Asked) -> httpx2.Response:
        """Return the response, its body still to be read."""
        _, host, port = asked.origin
        self.guard.check_origin(host, port)
        for address in await allowed_addresses(self.resolve, self.guard, host, port):
            request = self.client.build_request(
                asked.method,
                asked.url.copy_with(host=address),
                headers={**asked.headers, "host": asked.url.netloc.decode("ascii")},
                content=asked.content,
                extensions={"sni_hostname": host},
            )
            try:
                return await self.client.send(request, stream=True)
            except httpx2.ConnectError as exc:
                reason = str(exc)
        raise ToolFailed("connect_failed", f"{host} port {port}: {reason}", retryable=True)


def _asked(arguments: RequestArguments) -> Asked:
    headers = {name.lower(): value for name, value in arguments.headers.items()}
    if own := _OWN_HEADERS & headers.keys():
        raise ToolFailed("bad_arguments", f"these headers are set by the connection: {', '.join(sorted(own))}")
    content = None
    if arguments.text is not None and arguments.json is not UNSET:
        raise ToolFailed("bad_arguments", "give either text or json")
    if arguments.text is not None:
        content = arguments.text.encode()
        headers.setdefault("content-type", "text/plain; charset=utf-8")
    elif arguments.json is not UNSET:
        content = msgspec.json.encode(arguments.json)
        headers.setdefault("content-type", "application/json")
    return Asked(arguments.method, _parsed(arguments.url), headers, content)


def _parsed(text: str, base: httpx2.URL | None = None) -> httpx2.URL:
    try:
        url = httpx2.URL(text) if base is None else base.join(text)
    except httpx2.InvalidURL as exc:
        raise ToolFailed("bad_url", f"{text[:200]!r}: {exc}") from exc
    if url.scheme not in _PORTS or not url.host or not 0 < (url.port or _PORTS[url.scheme]) < 65_536:
        raise ToolFailed("bad_url", f"{text[:200]!r} is not the address of something on http or https")
    if url.userinfo:
        raise ToolFailed("bad_url", f"a user's name or password has no place in an address ({url.host})")
    return url.copy_with(fragment=None)


async def _result(
    response: httpx2.Response, asked: Asked, arguments: RequestArguments, context: Context
) -> RequestResult:
    body = Spool(context.scratch / "body")
    bytes_max = min(arguments.bytes_max, context.guard.limits.output_bytes)
    async for piece in response.aiter_bytes():
        if body.count + len(piece) > bytes_max:
            raise ToolFailed("output_too_large", f"{asked.url} answers with more than {bytes_max} bytes")
        with told("the body"):
            await body.write(piece)
    if arguments.check and response.status_code >= 400:
        words = body.text(_WORDS_BYTES).strip()
        message = f"{asked.url} answered {response.status_code} {response.reason_phrase}: {words}"
        raise ToolFailed("http_status", message, retryable=response.status_code in _WORTH_ANOTHER_TRY)
    media_type = response.headers.get("content-type", "application/octet-stream")[:200]
    answer = RequestResult(response.status_code, str(asked.url), _shown_headers(response), body.count)
    if body.count <= len(body.head):
        text = _as_text(body.head, response.charset_encoding)
        if text is not None and fits(text):
            return msgspec.structs.replace(answer, body=text)
        if text is None and body.count <= INLINE_BASE64_MAX:
            return msgspec.structs.replace(answer, body_base64=base64.b64encode(body.head).decode())
    return msgspec.structs.replace(answer, body_artifact=await body.artifact(context.shelf, media_type))


def _as_text(body: bytes, charset: str | None) -> str | None:
    for encoding in ("utf-8", charset or "utf-8"):
        try:
            return body.decode(encoding)
        except (UnicodeError, LookupError):
            continue
    return None


def _shown_headers(response: httpx2.Response) -> dict[str, str]:
    """Return the headers as far as a result has room for them."""
    shown: dict[str, str] = {}
    room = _HEADERS_INLINE_MAX
    for name, value in response.headers.items():
        room -= len(msgspec.json.encode([name, value]))
        if room >= 0:
            shown[name] = value
    return shown
