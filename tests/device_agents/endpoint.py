"""An endpoint on loopback that speaks chat completions and answers as the test says, one answer a request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from device_agents.brain_model import Endpoint, Model


class Refusal(NamedTuple):
    """An answer that is none."""

    status: int
    body: bytes = b"no"
    media_type: str = "text/plain"
    retry_after: str = ""
    location: str = ""


class Raw(NamedTuple):
    """The whole body of an answer with status 200."""

    body: bytes


SILENCE = "silence"  # the connection stays open, and nothing comes


def said(tool: str, arguments: Any = None) -> str:
    """Return what a model says that keeps to the form."""
    return json.dumps({"thought": "so", "tool": tool, "arguments": json.dumps(arguments)})


def problem(status: int, detail: str) -> Refusal:
    body = json.dumps({"type": "about:blank", "title": "a title", "detail": detail}).encode()
    return Refusal(status, body, "application/problem+json")


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "ModelServer"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(body)
        self.server.headers.append(dict(self.headers))
        self.server.paths.append(self.path)
        answers = self.server.answers
        match answers.pop(0) if len(answers) > 1 else answers[0]:
            case "silence":
                self.server.silent.set()
                self.server.released.wait(10)
                self.close_connection = True
            case Refusal(status, body, media_type, retry_after, location):
                headers = {"retry-after": retry_after, "location": location}
                self.say(status, body, media_type, {name: value for name, value in headers.items() if value})
            case Raw(body):
                self.say(200, body, "application/json", {})
            case str(content):
                message = {"role": "assistant", "content": content}
                whole = {"choices": [{"index": 0, "message": message}], "usage": self.server.usage}
                self.say(200, json.dumps(whole).encode(), "application/json", {})

    def say(self, status: int, body: bytes, media_type: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"content-type": media_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class ModelServer(ThreadingHTTPServer):
    """Answers with `answers`, one after the other, the last one for ever. `asked` is what it was asked."""

    daemon_threads = True

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.usage: Any = {"prompt_tokens": 100, "completion_tokens": 10}
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.pauses: list[float] = []
        self.silent = threading.Event()
        self.released = threading.Event()
        super().__init__(("127.0.0.1", 0), _Exchange)

    def endpoint(self, *, key: str = "secret", galaxy: bool = False) -> Endpoint:
        return Endpoint(f"http://127.0.0.1:{self.server_address[1]}/v1", "small", lambda: key, galaxy)

    def model(self, *, within_s: float = 10.0, galaxy: bool = False) -> Model:
        """Return the model behind it, that does not wait between tries and notes how long it would have."""
        return Model(self.endpoint(galaxy=galaxy), pause=self._noted, within_s=within_s)

    async def _noted(self, pause_s: float) -> None:
        self.pauses.append(pause_s)

    def told(self) -> str:
        """Return the last thing that the model was told."""
        return str(self.asked[-1]["messages"][-1]["content"])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def answering(*answers: Any) -> Iterator[ModelServer]:
    server = ModelServer(*answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
