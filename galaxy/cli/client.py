"""The commands' side of the REST API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn
from urllib.parse import quote

import httpx2

from .exits import REFUSED, UNREACHABLE, fail

ANSWER_WITHIN_S = 30.0
STREAM_SILENCE_S = 60.0  # the node sends signs of life more often
RECONNECTS_MAX = 30


class Client:
    """A node, as commands use it. What goes wrong ends the command with the code for it."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.url = url
        try:
            self._http = httpx2.Client(base_url=url, headers=headers, timeout=ANSWER_WITHIN_S, trust_env=False)
        except httpx2.InvalidURL as exc:
            fail(REFUSED, f"{url} is not a URL: {exc}")
        except UnicodeEncodeError:
            fail(REFUSED, "the token holds what no token can; GALAXY_TOKEN or --token gives it")

    def get(self, path: str, **query: Any) -> Any:
        """Return the answer's JSON."""
        return self._json("GET", path, params={key: value for key, value in query.items() if value is not None})

    def post(
        self,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        within_s: float = ANSWER_WITHIN_S,
    ) -> Any:
        """Return the answer's JSON. Only the answer may take longer than others: to connect and to send may not."""
        timeout = httpx2.Timeout(ANSWER_WITHIN_S, read=within_s)
        return self._json("POST", path, json=body, headers=headers, timeout=timeout)

    def delete(self, path: str) -> Any:
        """Return what the node answers; end the command if it refuses."""
        return self._json("DELETE", path)

    def follow(self, constellation_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """Yield a constellation's events as they happen, across broken connections, until its end."""
        broken = 0
        while True:
            try:
                for event in self._stream(constellation_id, after):
                    after, broken = event["seq"], 0
                    yield event
                    if event["kind"] == "constellation_ended":
                        return
                broken += 1
            except httpx2.HTTPError as exc:
                broken += 1
                if broken > RECONNECTS_MAX:
                    self._unreachable(exc)
            if broken > RECONNECTS_MAX:
                self._unreachable("its stream of events ends too soon")
            if broken > 1:
                self._wait_until_there()

    def _stream(self, constellation_id: str, after: int) -> Iterator[dict[str, Any]]:
        path = path_of("constellations", constellation_id, "events")
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._http.stream("GET", path, headers=headers, timeout=STREAM_SILENCE_S) as answer:
            if answer.status_code != httpx2.codes.OK:
                answer.read()
                if answer.is_server_error:
                    answer.raise_for_status()  # as if the connection had broken
                _refuse(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def _wait_until_there(self) -> None:
        """Try to connect, with the transport's own back-off as the only pause."""
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=5), trust_env=False) as patient:
            try:
                patient.get(f"{self.url}/healthz", timeout=5.0)
            except httpx2.HTTPError:
                return

    def _json(self, method: str, path: str, **request: Any) -> Any:
        try:
            answer = self._http.request(method, path, **request)
        except httpx2.ReadTimeout:
            fail(UNREACHABLE, f"the node at {self.url} has not answered in time; it may still be at it")
        except httpx2.HTTPError as exc:
            self._unreachable(exc)
        if answer.is_error:
            _refuse(answer)
        try:
            return answer.json()
        except ValueError:
            fail(REFUSED, f"what answers at {self.url} is no node of Galaxy: {answer.status_code}, and not JSON")

    def _unreachable(self, why: object) -> NoReturn:
        text = f"cannot reach the node at {self.url}: {why}"
        fail(UNREACHABLE, f"{text}. Is `galaxy serve` running? --url names another.")


def path_of(*names: str, verb: str = "") -> str:
    """Return the path of a resource; whatever a name holds, it stays one name."""
    return "/".join(("/v1", *(quote(name, safe="") or "-" for name in names))) + (f":{verb}" if verb else "")


def _refuse(answer: httpx2.Response) -> None:
    try:
        problem = answer.json()
        words = [problem["detail"]]
        words += [f"  {error['place']}: {error['message']}" for error in problem.get("errors", [])[1:]]
        if problem.get("place"):
            words[0] += f" (at {problem['place']})"
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            words.append("export GALAXY_TOKEN=..., or --token; a lost one is made anew by `galaxy token reset`")
        elif problem.get("next"):
            words.append(problem["next"])
        text = "\n".join(words)
    except (ValueError, KeyError, TypeError):
        text = f"the answer was {answer.status_code} {answer.reason_phrase}"
    fail(UNREACHABLE if answer.status_code in (502, 503, 504) else REFUSED, text)


@contextmanager
def connected(url: str, token: str) -> Iterator[Client]:
    """Lend a client."""
    client = Client(url, token)
    try:
        yield client
    finally:
        client._http.close()
