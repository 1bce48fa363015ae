"""Who a device is: its key, its folder, its one agent."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from device_agents.guard import GUARD_TOML
from device_agents.identity import Identity, JoinRefused, Membership, NotJoined, StateInUse, join, locked

from .helpers import full_disk

ROOT = Path(__file__).parents[2]
WELCOME = (201, b'{"device": "laptop", "galaxy": "g1"}')


class Galaxy(HTTPServer):
    """Answers everything in the same way, and remembers what it was sent."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body
        self.asked: list[Any] = []
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    server: Galaxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def galaxy(status: int = WELCOME[0], body: bytes = WELCOME[1]) -> Iterator[Galaxy]:
    with Galaxy(status, body) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a device that has joined."""
    with galaxy() as server:
        join(tmp_path / "state", server.url, "token", "laptop")
    return tmp_path / "state"


def child(folder: Path, script: str) -> "subprocess.Popen[str]":
    program = f"""
import os, sys, time
from pathlib import Path
from device_agents.identity import join, locked
folder = Path({str(folder)!r})
{script}
"""
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_device_that_has_joined_can_prove_the_key_that_it_joined_with(tmp_path):
    with galaxy() as server:
        joined = join(tmp_path / "state", server.url, "a token", "laptop")

    [(path, body)] = server.asked
    assert (path, body["token"], body["name"]) == ("/v1/join", "a token", "laptop")
    loaded = Identity.load(tmp_path / "state")
    assert loaded.membership == joined.membership == Membership("laptop", "g1", server.url)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(body["public_key"]))
    public.verify(base64.b64decode(loaded.sign(b"proof")), b"proof")
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(loaded.sign(b"proof")), b"another proof")


def test_joining_again_is_harmless_and_asks_nobody(folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    url = Identity.load(folder).membership.url  # where nobody listens any more

    again = join(folder, url, "a used token", "laptop")

    assert again.membership == Identity.load(folder).membership
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(("name", "url"), [("tower", None), ("laptop", "http://127.0.0.1:1")])
def test_a_folder_belongs_to_one_device_of_one_galaxy(folder, name, url):
    with pytest.raises(JoinRefused, match="belongs to laptop: choose another with --state"):
        join(folder, url or Identity.load(folder).membership.url, "token", name)


def test_nobody_else_may_read_the_key_at_any_moment_however_loose_the_umask(tmp_path):
    """Looked at whenever the agent does anything that Python can tell of: opens, renames, connects."""
    script = """
seen = set()
def look(event, _):
    if event != "os.stat" and not looking:
        looking.append(True)
        seen.update((path.name, oct(path.stat().st_mode)) for path in folder.glob("*") if path.exists())
        looking.clear()
looking = []
os.umask(0)
sys.addaudithook(look)
join(folder, sys.stdin.readline().strip(), "token", "laptop")
print(sorted({mode for name, mode in seen}), len(seen) > 3, oct(folder.stat().st_mode))
"""
    with galaxy() as server:
        program = script.replace("sys.stdin.readline().strip()", repr(server.url))
        with child(tmp_path / "state", program) as process:
            assert process.communicate()[0].strip() == "['0o100600'] True 0o40700"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_key_that_others_may_read_is_refused(folder, mode):
    (folder / "device.key").chmod(mode)

    with pytest.raises(NotJoined, match=r"device\.key may be read by others: chmod 600 it, or join again"):
        Identity.load(folder)


def test_a_join_that_galaxy_refuses_says_why_and_leaves_no_key(tmp_path):
    answer = b'{"detail": "the join token is unknown"}'
    with galaxy(403, answer) as server, pytest.raises(JoinRefused, match="the join token is unknown"):
        join(tmp_path / "state", server.url, "token", "laptop")

    assert list((tmp_path / "state").iterdir()) == []
    with pytest.raises(NotJoined, match="run `galaxy-agent join URL TOKEN --name NAME` first"):
        Identity.load(tmp_path / "state")
    with galaxy() as server:
        assert join(tmp_path / "state", server.url, "token", "laptop").membership.galaxy == "g1"


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"<html>"), (403, b"[1]"), (200, WELCOME[1]), (201, b"<html>"), (201, b"{}"), (201, b"[]"), (302, b"")],
)
def test_what_is_no_galaxy_is_told_from_one(tmp_path, status, body):
    with galaxy(status, body) as server, pytest.raises(JoinRefused, match=rf"was {status} .*is this a galaxy's URL\?"):
        join(tmp_path / "state", server.url, "token", "laptop")

    assert not (tmp_path / "state" / "device.key").exists()


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://", "http://[::1", "http://127.0.0.1:99999"])
def test_a_galaxy_that_cannot_be_reached_is_named(tmp_path, url):
    with pytest.raises(JoinRefused, match="cannot reach http://"):
        join(tmp_path / "state", url, "token", "laptop")

    assert not (tmp_path / "state" / "device.key").exists()


def test_a_full_disk_is_found_before_the_name_is_used_up(tmp_path):
    with galaxy() as server, full_disk(), pytest.raises(JoinRefused, match=r"cannot write in .*state"):
        join(tmp_path / "state", server.url, "token", "laptop")

    assert server.asked == []


def test_a_state_that_is_no_folder_is_refused_in_words(tmp_path):
    (tmp_path / "state").write_text("a file")

    with galaxy() as server, pytest.raises(JoinRefused, match=r"cannot write in .*state"):
        join(tmp_path / "state", server.url, "token", "laptop")
    with pytest.raises(NotJoined, match="cannot be read"):
        Identity.load(tmp_path / "state")


def test_the_owners_policy_is_never_overwritten(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "guard.toml").write_text("shell = true")
    with galaxy() as server:
        join(tmp_path / "state", server.url, "token", "laptop")
        join(tmp_path / "other", server.url, "token", "tower")

    assert (tmp_path / "state" / "guard.toml").read_text() == "shell = true"
    assert (tmp_path / "other" / "guard.toml").read_text() == GUARD_TOML


def test_what_a_join_left_that_was_killed_does_not_hinder_the_next(tmp_path):
    (tmp_path / "state").mkdir()
    for name in ("device.key", "device.key.new", "device.json.new"):
        (tmp_path / "state" / name).write_text("half")

    with galaxy() as server:
        join(tmp_path / "state", server.url, "token", "laptop")

    assert Identity.load(tmp_path / "state").membership.device == "laptop"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("device.json", b""),
        ("device.json", b"{"),
        ("device.json", b"\xff"),
        ("device.json", b'{"device": "laptop"}'),
        ("device.json", b'{"device": 1, "galaxy": "g", "url": "u"}'),
        ("device.key", b""),
        ("device.key", b"c2hvcnQ="),
        ("device.key", b"\xff\xff\xff"),
        ("device.key", b"a"),
    ],
)
def test_a_damaged_folder_is_refused_in_words(folder, name, content):
    (folder / name).write_bytes(content)

    with pytest.raises(NotJoined, match=r"is damaged .*: join again in an empty folder"):
        Identity.load(folder)


@pytest.mark.parametrize("name", ["device.json", "device.key"])
def test_a_folder_from_which_a_file_is_missing_is_no_devices(folder, name):
    (folder / name).unlink()

    with pytest.raises(NotJoined, match="is no device's folder"):
        Identity.load(folder)


def test_a_second_agent_is_refused_until_the_first_is_killed(folder):
    with child(folder, 'held = locked(folder); print("held", flush=True); time.sleep(60)') as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(StateInUse, match="stop it, or give this one a folder with --state"):
            locked(folder)
        first.kill()
        first.wait()

        with child(folder, 'locked(folder); print("mine")') as second:
            assert second.communicate()[0] == "mine\n"


def test_a_program_that_an_agent_started_does_not_hold_its_folder(folder):
    """It may outlive the agent for a moment."""
    script = """
import subprocess
held = locked(folder)
subprocess.Popen(["sleep", "5"], stdout=subprocess.DEVNULL, close_fds=False)
print("held", flush=True)
"""
    with child(folder, script) as first:
        assert first.communicate()[0] == "held\n"

    with child(folder, 'locked(folder); print("mine")') as second:
        assert second.communicate()[0] == "mine\n"
