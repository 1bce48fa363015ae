"""The form that the demo's desktop fills in: a page on loopback, and what was sent to it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

_BODY_BYTES_MAX = 64 << 10
_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><title>Cold store: report</title>
<style>body {{ font: 18px sans-serif; margin: 2em auto; max-width: 34em }}
label {{ display: block; margin: .8em 0 }} input[type=text], textarea {{ width: 100%; font: inherit }}</style>
<h1>{heading}</h1>{body}</html>
"""
_FORM = """\
<form method="post" action="/report">
<label>Verdict <input type="text" name="verdict" required></label>
<label>Usual temperature <input type="text" name="usual" required></label>
<label>Remark <textarea name="remark" rows="3"></textarea></label>
<label><input type="checkbox" name="urgent"> Urgent</label>
<button>Send</button></form>
"""


class Form:
    """A site with one form; `sent` is what came, each as the fields of one sending."""

    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []
        sent = self.sent

        class Site(BaseHTTPRequestHandler):
            """Answers a browser."""

            def do_GET(self) -> None:
                self._answer("Report", _FORM)

            def do_POST(self) -> None:
                length = min(int(self.headers.get("Content-Length", "0")), _BODY_BYTES_MAX)
                sent.append(dict(parse_qsl(self.rfile.read(length).decode("utf-8", "replace"))))
                self._answer("Thank you", f"<p>Report number {len(sent)} has arrived.</p>")

            def _answer(self, heading: str, body: str) -> None:
                page = _PAGE.format(heading=heading, body=body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: what came is kept."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/report"

    @contextmanager
    def served(self) -> Iterator["Form"]:
        """Answer as long as it is lent."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
