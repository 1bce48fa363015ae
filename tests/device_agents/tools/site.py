"""A web server on loopback that answers with what it was asked, or with what the path asks for."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Site(BaseHTTPRequestHandler):
    """Answers with what it was asked, or as the path says; `asked` holds every request."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length).decode()
        self.server.asked.append(f"{self.command} {self.path}")
        what, _, rest = self.path.lstrip("/").partition("/")
        if what == "redirect":
            status, _, target = rest.partition("/")
            self.say(int(status), b"", location=target)
        elif what == "status":
            self.say(int(rest), b"the reason")
        elif what == "bytes":
            self.say(200, b"x" * int(rest))
        elif what == "binary":
            self.say(200, b"\xff" * int(rest))
        elif what == "bomb":
            self.say(200, gzip.compress(b"\0" * (64 << 20)), content_encoding="gzip")
        elif what == "latin":
            self.say(200, b"\xe4", content_type="text/plain; charset=iso-8859-1")
        elif what == "headers":
            self.say(200, b"", **{f"x_{number}": "x" * 1000 for number in range(20)})
        elif what == "garbage":
            self.wfile.write(b"nonsense\r\n\r\n")
            self.close_connection = True
        elif what == "silence":
            self.server.released.wait(10)
            self.close_connection = True
        else:
            heard = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body}
            self.say(200, json.dumps(heard).encode(), content_type="application/json")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def do_HEAD(self) -> None:
        self.say(200, b"")

    def say(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A site on a loopback address."""

    daemon_threads = True

    def __init__(self, address: str, port: int = 0) -> None:
        self.asked: list[str] = []
        self.released = threading.Event()
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Site)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def url(self, path: str = "/", host: str = "") -> str:
        return f"http://{host or self.server_address[0]}:{self.port}{path}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what some tests are about."""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
