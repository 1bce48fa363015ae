"""The model that the node lends to devices: where it is, one bounded call of it, and how much of it is in use."""

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import httpx2
import msgspec
from msgspec import Struct

from ..core.attempt import AttemptId
from ..planner.endpoint import client_of_model
from ..planner.prices import Price
from .errors import Problem

ANSWER_BYTES_MAX = 4 << 20
CALLS_OF_A_DEVICE_MAX = 4
CALLS_MAX = 32
NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
# An endpoint may know one only, and ignore or refuse the other; some refuse the two together.
LIMITS = ("max_completion_tokens", "max_tokens")
REFUSED_QUESTION = (400, 422)
SECRET_CHARS_MIN = 16  # a shorter key is a word that an endpoint at home wants to see, and texts may say it


@dataclass(frozen=True, slots=True)
class AgentLlm:
    """An endpoint that speaks chat completions. Only the node talks to it, and only the node knows the key.

    Raise ValueError for an address that is none, or a key that no header can hold; the message does not tell it.
    """

    url: str  # before `/chat/completions`
    model: str
    key: str = field(default="", repr=False)
    price: Price | None = None  # None: not known
    within_s: float = 170.0  # of one answer; the device that waits for it waits somewhat longer
    trusted: ssl.SSLContext = field(default_factory=httpx2.create_ssl_context, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (self.key.isascii() and self.key.isprintable()) or " " in self.key:
            raise ValueError("the model's key holds what no key can: blanks, line ends, or letters beyond ASCII")

        try:
            scheme = httpx2.URL(self.url).scheme
        except httpx2.InvalidURL as exc:
            raise ValueError(f"the model's address is no URL: {exc}") from None
        if scheme not in ("http", "https"):
            raise ValueError(f"the model's address is no http or https URL: {self.url}")

    def without_key(self, text: bytes) -> bytes:
        """Return the text with the key made unreadable, should an endpoint have repeated it."""
        return text.replace(self.key.encode(), b"***") if len(self.key) >= SECRET_CHARS_MIN else text


class Refusal(Struct, frozen=True):
    param: str | None = None


class RefusalOut(Struct, frozen=True):
    """What is read of a refusal to find out which field it is about."""

    error: Refusal = Refusal()


@dataclass(frozen=True, slots=True)
class Heard:
    """What the endpoint answered."""

    status: int
    retry_after: str
    body: bytes


class Unreached(Exception):
    """The endpoint was not reached, so it was asked nothing."""


class Unheard(Exception):
    """It was asked, and gave no whole answer within bounds: what that cost is not known."""


async def forwarded(llm: AgentLlm, body: bytes) -> Heard:
    """Ask the endpoint; raise Unreached, Unheard, or TimeoutError, which is as Unheard.

    Their messages, and those of what they come from, may hold anything: they are not passed on.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
    if llm.key:
        headers["Authorization"] = f"Bearer {llm.key}"
    url = f"{llm.url.rstrip('/')}/chat/completions"
    try:
        async with (
            asyncio.timeout(llm.within_s),
            client_of_model(llm.within_s, llm.trusted) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            whole = bytearray()
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise Unheard("it is compressed, though that was not wanted")
            async for piece in answer.aiter_raw():
                whole += piece
                if len(whole) > ANSWER_BYTES_MAX:
                    raise Unheard(f"it has more than {ANSWER_BYTES_MAX} bytes")
            return Heard(answer.status_code, answer.headers.get("retry-after", ""), bytes(whole))
    except (*NEVER_SENT, httpx2.InvalidURL) as exc:
        raise Unreached(type(exc).__name__) from None
    except httpx2.TimeoutException:
        raise TimeoutError from None
    except httpx2.HTTPError as exc:
        raise Unheard(type(exc).__name__) from None


def limits_after(limits: tuple[str, ...], refusal: Heard) -> tuple[str, ...]:
    """Return the fields to bound the answer with next, where the endpoint refuses one of these; or nothing.

    Never are there none in a question: what the model may say at most is what was set aside.
    """
    if refusal.status not in REFUSED_QUESTION:
        return ()
    named = {name for name in LIMITS if re.search(rb"\b%b\b" % name.encode(), refusal.body)}
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        param = msgspec.json.decode(refusal.body, type=RefusalOut).error.param
        named = {param} if param in LIMITS else named  # its words may name what to use instead
    if not named & set(limits):
        return ()
    if len(limits) > 1:
        refused = named.pop() if len(named) == 1 else "max_tokens"  # the older one
        return tuple(name for name in limits if name != refused)
    return ("max_tokens",) if limits == ("max_completion_tokens",) else ()


class Lent:
    """How much of the model is in use: calls under way, and the tokens of attempts that devices hold.

    What is set aside counts as used. Kept in memory: after a restart it is worked out from what is recorded.
    """

    def __init__(self) -> None:
        self.tokens: dict[AttemptId, int] = {}
        self.limits: tuple[str, ...] = LIMITS  # those that the endpoint has taken last
        self._calls: Counter[str] = Counter()  # device -> calls under way

    @contextmanager
    def calling(self, device: str) -> Iterator[None]:
        """Count a call; raise Problem where there are too many."""
        if self._calls[device] >= CALLS_OF_A_DEVICE_MAX or self._calls.total() >= CALLS_MAX:
            text = f"{self._calls[device]} calls of {device} are under way, and {self._calls.total()} in all"
            raise Problem(429, "too-many-calls", text, headers={"Retry-After": "1"})
        self._calls[device] += 1
        try:
            yield
        finally:
            self._calls[device] -= 1
            if not self._calls[device]:
                del self._calls[device]

    def add(self, attempt: AttemptId, tokens: int) -> None:
        """Count tokens for, or with a negative number back to, an attempt that is still counted."""
        if attempt in self.tokens:
            self.tokens[attempt] += tokens
