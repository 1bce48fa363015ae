"""A node with a model that it lends, and a device that follows an instruction. The model is a server on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec
from msgspec.structs import replace

from galaxy.api.agent_model import AgentLlm
from galaxy.planner.prices import Price
from protocol.messages import Assign
from tests.device_agents.endpoint import ModelServer, answering

from .devices import Device, spec
from .helpers import URL, Node

KEY = "sk-only-the-node-knows-this"
CHAT = "/v1/agent-llm/chat/completions"
ASK = {"messages": [{"role": "user", "content": "What now?"}], "max_completion_tokens": 100}


def bounded(tokens: int) -> dict[str, int]:
    """Return how an answer's length is bounded for endpoints that know one field or the other."""
    return {"max_completion_tokens": tokens, "max_tokens": tokens}


def llm(server: ModelServer, **more: Any) -> AgentLlm:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    return AgentLlm(**{"url": url, "model": "small", "key": KEY, "price": Price(1.0, 2.0), **more})


async def follower(node: Node, name: str = "laptop") -> Device:
    """Return a connected device that can follow instructions, beside doing work."""
    device = Device(node, name, slots=8)
    device.profile = replace(device.profile, tools=(*device.profile.tools, spec("instruct")))
    await device.join()
    await device.connect()
    return device


@dataclass
class Lending:
    """The node, its model's server, and a device that holds an attempt at an instruction."""

    node: Node
    server: ModelServer
    device: Device
    call: Assign

    @property
    def constellation(self) -> str:
        return self.call.attempt.split("/")[0]

    def token(self, device: Device | None = None) -> str:
        welcome = (device or self.device).welcome
        assert welcome
        return welcome.artifact_token

    async def ask(self, body: Any = None, *, token: str = "", attempt: str | None = None) -> httpx2.Response:
        """Ask as the device would, or as somebody who is not it."""
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        headers |= {"Galaxy-Attempt": self.call.attempt if attempt is None else attempt}
        content = body if isinstance(body, bytes) else msgspec.json.encode(ASK if body is None else body)
        async with httpx2.AsyncClient(transport=self.node.http._transport, base_url=URL) as http:
            return await http.post(
                CHAT, content=content, headers={**headers, "Content-Type": "application/json"}, timeout=None
            )

    def usage(self) -> list[dict[str, Any]]:
        """Return what is recorded of calls: kind by kind, in order."""
        rows = self.node.store.rows(self.constellation)
        return [msgspec.json.decode(row.body) for row in rows if row.kind.startswith("usage_")]

    async def spent(self) -> dict[str, Any]:
        spent: dict[str, Any] = (await self.node.constellation(self.constellation))["spent"]
        return spent


@asynccontextmanager
async def lending(node: Node, *answers: Any, tokens_max: int = 50_000, **more: Any) -> AsyncIterator[Lending]:
    """Lend all of it; `more` is more of the constellation."""
    device = await follower(node)
    with answering(*answers) as server:
        node.parts.llm = llm(server)
        instruction = {"text": "tidy up", "tools": ["work"], "tokens_max": tokens_max}
        await node.submit({"id": "a", "instruction": instruction}, **more)
        yield Lending(node, server, device, await device.call())
