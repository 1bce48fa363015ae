"""A phone for a test: one for all tests of a process, as it is new, and its own server of ADB."""

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from galaxy.cli.local import free_port

_ENDS_WITHIN_S = 10.0
_ROOT = Path(__file__).parents[2]


class Phone:
    """A phone that runs, as its test sees it."""

    def __init__(self, folder: Path, leash: int, told: dict[str, int]) -> None:
        self.port = told["port"]
        self.pid = told["pid"]
        self.serial = f"127.0.0.1:{self.port}"
        self.server_port = free_port()
        self.folder = folder
        self._control = told["control"]
        self._leash = leash
        self._left = False

    def tell(self, *words: str) -> str:
        """Have it happen on the phone, and return what it says: `reset`, `locked true`, `leave`, ..."""
        said = b"\0".join(each.encode() for each in ("phone", *words))
        with socket.create_connection(("127.0.0.1", self._control), timeout=20) as line:
            line.sendall(b"%d\n" % len(said) + said)
            with line.makefile("rb") as answer:
                code, stdout, stderr = map(int, answer.readline().split())
                text = answer.read(stdout).decode(), answer.read(stderr).decode()
        assert code == 0, text
        self._left = self._left or words == ("leave",)
        return text[0]

    def renew(self) -> None:
        """Make the phone as it was when it was new, and known to its server of ADB."""
        self.tell("reset")
        if self._left:
            self.adb("disconnect", self.serial, check=False)
            self.adb("connect", self.serial)
            self._left = False

    def adb(self, *words: str | Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run Debian's client with the phone's own server."""
        command = ["adb", "-P", str(self.server_port), *words]
        home = {**os.environ, "HOME": str(self.folder)}  # where a server leaves its key and a file of its own
        return subprocess.run(command, capture_output=True, check=check, timeout=60, env=home)

    def file(self, name: str) -> Path:
        """Return where this machine has the phone's file."""
        return self.folder / "files" / name.lstrip("/").replace("sdcard/", "storage/emulated/0/", 1)

    def end(self) -> None:
        """Return when neither of the two runs any more."""
        os.close(self._leash)
        self.adb("kill-server", check=False)
        try:
            psutil.Process(self.pid).wait(_ENDS_WITHIN_S)
        except psutil.NoSuchProcess:
            return


def started(folder: Path) -> Phone:
    """Return a phone of its own, no child of this process, which ends with it at the latest."""
    theirs, ours = os.pipe()
    told, said = os.pipe()
    try:
        command = [sys.executable, "-m", "tests.phone", "--folder", str(folder), "--leash", str(theirs), "--detached"]
        with (folder / "log").open("wb") as log:
            subprocess.run(command, cwd=_ROOT, stdout=said, stderr=log, pass_fds=[theirs], check=True)
    finally:
        os.close(theirs)
        os.close(said)
    with os.fdopen(told, "rb") as lines:
        line = lines.readline()
    assert line, (folder / "log").read_text("utf-8")
    phone = Phone(folder, ours, json.loads(line))
    phone.adb("start-server")
    phone.adb("connect", phone.serial)
    return phone


@cache
def _shared() -> Phone:
    folder = Path(tempfile.mkdtemp(prefix="galaxy-phone-"))
    found = started(folder)
    atexit.register(shutil.rmtree, folder, True)
    atexit.register(found.end)
    return found


@contextmanager
def phone(folder: Path | None = None) -> Iterator[Phone]:
    """Yield the phone that the tests of this process share, as new; with a folder, one of its own."""
    if folder is None:
        found = _shared()
        found.renew()
        yield found
        return
    folder.mkdir(parents=True, exist_ok=True)
    found = started(folder)
    try:
        yield found
    finally:
        found.end()
