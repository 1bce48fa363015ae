"""A server that speaks OpenAI's chat completions and answers as a recording says, over real HTTP on loopback.

    async with replaying(recordings) as server:      in a test: `server.url`, `server.asked`
    python -m tests.galaxy.planner.replay FOLDER     beside a node: prints its URL, ends with SIGTERM

A conversation is found by its goal, which stands in the request. Its exchanges answer in order; a request that has not
what the next one expects, or comes when none is left, gets status 410 with what was expected.
"""

import argparse
import asyncio
import json
import socket
import string
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

RECORDINGS = Path(__file__).parent / "recordings"
PIECE_CHARS = 60
WRONG = 410


@dataclass
class Exchange:
    """One answer. Exactly one of `answer`, `raw`, `status`, `silent` says what it is."""

    expect: list[str] = field(default_factory=list)  # each must stand in one of the request's messages
    unexpected: list[str] = field(default_factory=list)  # and none of these
    answer: dict[str, Any] | None = None  # what it leaves out is filled in, as the schema that was asked for wants it
    raw: str | None = None
    status: int = 200
    error: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    silent: bool = False  # say nothing more, until the caller has had enough
    reasoning: str = ""
    reasoning_name: str = "reasoning_content"
    refusal: str = ""
    finish: str | None = "stop"
    usage: bool = True
    odd: Any = None  # a piece of the stream that no endpoint should send


@dataclass
class Recording:
    """A conversation about one goal."""

    goal: str
    exchanges: list[Exchange]
    name: str = ""
    about: str = ""
    files: dict[str, dict[str, str]] = field(default_factory=dict)  # device -> path in its work folder -> content
    play: list[dict[str, Any]] = field(default_factory=list)  # how stars end, for tests without devices
    ends_as: str = "done"


def load(path: Path, **values: str) -> Recording:
    """Return a recording; `${python}` in it is this Python, other placeholders are as given."""
    text = string.Template(path.read_text("utf-8")).safe_substitute({"python": sys.executable, **values})
    content = json.loads(text)
    exchanges = [Exchange(**one) for one in content.pop("exchanges")]
    return Recording(exchanges=exchanges, name=path.stem, **content)


def load_all(folder: Path = RECORDINGS, **values: str) -> list[Recording]:
    return [load(path, **values) for path in sorted(folder.glob("*.json"))]


class ReplayServer:
    """The server, and what it was asked."""

    def __init__(self, recordings: Iterable[Recording], url: str) -> None:
        self.url = url
        self.recordings = list(recordings)
        self.asked: list[dict[str, Any]] = []  # the requests' bodies, in order
        self.keys: list[str] = []  # that came with them
        self.wrong: list[str] = []  # what requests were that no exchange was for
        self.left = asyncio.Event()  # a caller has hung up on a silent answer
        self.begun = asyncio.Event()  # a silent answer has begun
        self._next = dict.fromkeys(range(len(self.recordings)), 0)

    def unused(self) -> list[Exchange]:
        """Return the exchanges that nobody has asked for."""
        return [one for n, recording in enumerate(self.recordings) for one in recording.exchanges[self._next[n] :]]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive()).get("more_body"):
            body += message["body"]
        request = json.loads(body + message.get("body", b"") or b"{}")
        if scope["path"].rstrip("/").rpartition("/v1")[2] != "/chat/completions" or not request.get("stream"):
            await _refuse(send, 404, {"message": "only POST /v1/chat/completions with stream is played"})
            return
        self.asked.append(request)
        self.keys.append(dict(scope["headers"]).get(b"authorization", b"").decode())
        exchange, wrong = self._exchange(request)
        if exchange is None:
            self.wrong.append(wrong)
            await _refuse(send, WRONG, {"message": wrong, "type": "replay"})
        elif exchange.status != 200:
            await _refuse(send, exchange.status, exchange.error or {"message": "as recorded"}, exchange.headers)
        else:
            await self._answer(exchange, request, receive, send)

    def _exchange(self, request: dict[str, Any]) -> tuple[Exchange | None, str]:
        """Return what is to be answered now, or why nothing is."""
        read = "\n".join(message["content"] for message in request["messages"])
        found = [n for n, recording in enumerate(self.recordings) if recording.goal in read]
        if len(found) != 1:
            return None, f"{len(found)} recordings are about this goal"
        recording, place = self.recordings[found[0]], self._next[found[0]]
        if place == len(recording.exchanges):
            return None, f"{recording.goal}: all {place} exchanges are used"
        exchange = recording.exchanges[place]
        missing = [text for text in exchange.expect if text not in read]
        there = [text for text in exchange.unexpected if text in read]
        if missing or there:
            return None, f"{recording.goal}: exchange {place + 1} expects {missing}, and not {there}"
        self._next[found[0]] += 1
        return exchange, ""

    async def _answer(self, exchange: Exchange, request: dict[str, Any], receive: Any, send: Any) -> None:
        await send(_start(200, {"content-type": "text/event-stream", **exchange.headers}))
        await _say(send, {"delta": {"role": "assistant", "content": ""}})
        if exchange.silent:
            self.begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
            return
        if exchange.odd is not None:
            await _event(send, exchange.odd)
        for piece in _pieces(exchange.reasoning):
            await _say(send, {"delta": {exchange.reasoning_name: piece}})
        if exchange.refusal:
            await _say(send, {"delta": {"refusal": exchange.refusal}})
        text = exchange.raw if exchange.raw is not None else _written(exchange.answer or {}, request)
        for piece in _pieces(text):
            await _say(send, {"delta": {"content": piece}})
        if exchange.finish:
            await _say(send, {"delta": {}, "finish_reason": exchange.finish})
            if exchange.usage:
                counts = {"prompt_tokens": 1_000, "completion_tokens": 200, "total_tokens": 1_200}
                await _event(send, {**CHUNK, "choices": [], "usage": counts})
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b""})


CHUNK = {"id": "replay", "object": "chat.completion.chunk", "created": 0, "model": "replay"}


def completed(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return what a model that is held to the schema would have written: nothing is left out."""
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema and value is not None:
        fitting = [one for one in schema["anyOf"] if _takes(one, value, root)]
        return completed(value, fitting[0], root) if fitting else value
    if isinstance(value, dict) and "properties" in schema:
        known = {k: completed(value[k], s, root) if k in value else _empty(s) for k, s in schema["properties"].items()}
        return {**known, **{k: item for k, item in value.items() if k not in known}}
    if isinstance(value, list) and "items" in schema:
        return [completed(item, schema["items"], root) for item in value]
    return value


def _takes(schema: dict[str, Any], value: Any, root: dict[str, Any]) -> bool:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    if not isinstance(value, dict):
        return schema.get("type") != "null"
    return set(value) <= set(schema.get("properties", ()))


def _empty(schema: dict[str, Any]) -> Any:
    if "anyOf" in schema:
        return None
    return {"array": [], "boolean": False, "object": {}, "null": None}.get(schema.get("type", ""), "")


def _written(answer: dict[str, Any], request: dict[str, Any]) -> str:
    wanted = request.get("response_format", {}).get("json_schema", {}).get("schema")
    if wanted is None:
        return json.dumps(answer)
    whole = completed(answer, wanted, wanted)
    if "steps" in wanted["properties"]:
        whole["steps"] = completed(whole["steps"] or {}, wanted["properties"]["steps"], wanted)
    if "add" in wanted["properties"]:
        whole["add"] = completed(whole["add"] or {}, wanted["properties"]["add"], wanted)
    return json.dumps(whole)


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE_CHARS):
        yield text[start : start + PIECE_CHARS]


def _start(status: int, headers: dict[str, str]) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


async def _say(send: Any, choice: dict[str, Any]) -> None:
    await _event(send, {**CHUNK, "choices": [{"index": 0, "finish_reason": None, **choice}]})


async def _event(send: Any, content: dict[str, Any]) -> None:
    body = f"data: {json.dumps(content)}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _refuse(send: Any, status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> None:
    await send(_start(status, {"content-type": "application/json", **(headers or {})}))
    await send({"type": "http.response.body", "body": json.dumps({"error": error}).encode()})


class _Quiet(uvicorn.Server):
    """A server within a test: signals are the test's own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def replaying(recordings: Iterable[Recording]) -> AsyncIterator[ReplayServer]:
    """Lend a server on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        replay = ReplayServer(recordings, _url(listener))
        server = _Quiet(uvicorn.Config(replay, lifespan="off", log_config=None))
        # Not in a group, which would wrap what the test itself raises.
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield replay
        finally:
            server.should_exit = True
            await serving


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def main() -> None:
    """Answer from a folder of recordings until told to stop."""
    parser = argparse.ArgumentParser(description="Play recorded answers of a model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    with socket.create_server(("127.0.0.1", given.port)) as listener:
        replay = ReplayServer(load_all(given.folder), _url(listener))
        sys.stdout.write(f"{replay.url}\n")
        sys.stdout.flush()
        uvicorn.Server(uvicorn.Config(replay, lifespan="off", log_config=None)).run(sockets=[listener])


if __name__ == "__main__":
    main()
