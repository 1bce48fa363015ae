"""The same POST twice is one: an answer is kept under the caller's Idempotency-Key, recorded with what it answers."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from fastapi import Depends, Header, Request

from ..core.constellation import Constellation
from ..store.contract import Answered
from .errors import RETRY_SOON, Problem
from .parts import Parts, parts

KEY_CHARS_MAX = 200


class Replayed(Exception):
    """The request was answered before; this is the answer, or None where it is how things are now."""

    def __init__(self, answer: Any) -> None:
        super().__init__("answered before")
        self.answer = answer


class Once:
    """One request that may come again."""

    def __init__(self, parts: Parts, key: str, digest: str) -> None:
        self._parts = parts
        self._key = key
        self._digest = digest

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Guard the making of an answer; raise Replayed or Problem if there is one, or one is being made."""
        if not self._key:
            yield
            return
        if self._key in self._parts.answering:
            raise Problem(409, "in-progress", "this Idempotency-Key is being answered", headers=RETRY_SOON)
        self._parts.answering.add(self._key)
        given_up = False
        try:
            if before := await self._parts.store.answered(self._key):
                if before.digest != self._digest:
                    raise Problem(422, "key-reused", "this Idempotency-Key was used for another request")
                raise Replayed(msgspec.json.decode(before.answer))
            yield
        except (TimeoutError, asyncio.CancelledError):
            given_up = True
            raise
        finally:
            if given_up:  # the event stands, and may be on its way: until it is recorded, nobody else has this key
                self._parts.runner.when_durable(self._let_go)
            else:
                self._let_go()

    def _let_go(self) -> None:
        self._parts.answering.discard(self._key)

    def answered(self, answer: Any) -> Answered | None:
        """Return what is to be recorded together with the event that the answer is about."""
        if not self._key:
            return None
        return Answered(self._key, self._digest, msgspec.json.encode(answer), self._parts.now())

    def revised(self, answer: dict[str, Any], found: Constellation) -> Callable[[], Answered | None]:
        """Return what puts the revision into the answer to an edit, to be called when the edit is applied.

        Only then is it known: others may have edited the constellation since it was looked at.
        """

        def made() -> Answered | None:
            answer["revision"] = found.revision
            return self.answered(answer)

        return made


async def once(
    request: Request,
    node: Annotated[Parts, Depends(parts)],
    idempotency_key: Annotated[str, Header(max_length=KEY_CHARS_MAX)] = "",
) -> Once:
    """Return what makes this request answer only once."""
    if not idempotency_key:
        return Once(node, "", "")
    target = f"{request.method} {request.url.path}"
    digest = hashlib.sha256(target.encode() + b"\n" + await request.body()).hexdigest()
    return Once(node, f"{target} {idempotency_key}", digest)


OnceOnly = Annotated[Once, Depends(once)]
