"""What every refusal has in common, asserted in one place."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from .helpers import Node


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Return the problem that the answer is; fail if it is not this one, or not told as all are."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:galaxy:problem:{code}", body
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["next"]
    return body


@asynccontextmanager
async def nothing_recorded(node: Node) -> AsyncIterator[None]:
    """Fail if anything was recorded meanwhile."""
    before = node.store.rows()
    yield
    await node.runner.durable()
    assert node.store.rows() == before
