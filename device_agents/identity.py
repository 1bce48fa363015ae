"""Who this device is: its folder, its name in a galaxy, and the key that proves it."""

import base64
import os
import sys
from pathlib import Path

import httpx2
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec import Struct

from .guard import GUARD_TOML

JOIN_WITHIN_S = 20.0
KEY_FILE, DEVICE_FILE, GUARD_FILE, LOCK_FILE = "device.key", "device.json", "guard.toml", "agent.lock"


class NotJoined(Exception):
    """This folder holds no usable identity; the message says what to do."""


class JoinRefused(Exception):
    """Galaxy did not let the device join; the message says why."""


class StateInUse(Exception):
    """Another agent works in this folder, and holds this lock."""

    def __init__(self, message: str, lock: Path) -> None:
        super().__init__(message)
        self.lock = lock


class Membership(Struct, frozen=True):
    """What a device knows of the galaxy it has joined."""

    device: str
    galaxy: str
    url: str


class Identity:
    """A joined device, able to sign for itself."""

    def __init__(self, folder: Path, membership: Membership, key: Ed25519PrivateKey) -> None:
        self.folder = folder
        self.membership = membership
        self._key = key

    def sign(self, proof: bytes) -> str:
        """Return the signature over the bytes, as base64."""
        return base64.b64encode(self._key.sign(proof)).decode()

    @classmethod
    def load(cls, folder: Path) -> "Identity":
        """Return the identity kept in the folder; raise NotJoined."""
        try:
            membership = msgspec.json.decode((folder / DEVICE_FILE).read_bytes(), type=Membership)
            key = Ed25519PrivateKey.from_private_bytes(base64.b64decode((folder / KEY_FILE).read_bytes()))
            loosened = os.name == "posix" and (folder / KEY_FILE).stat().st_mode & 0o077
        except FileNotFoundError:
            text = f"{folder} is no device's folder: run `galaxy-agent join URL TOKEN --name NAME` first"
            raise NotJoined(text) from None
        except (msgspec.DecodeError, ValueError) as exc:
            raise NotJoined(f"{folder} is damaged ({exc}): join again in an empty folder") from exc
        except OSError as exc:
            raise NotJoined(f"{folder} cannot be read: {exc}") from exc
        if loosened:
            raise NotJoined(f"{folder / KEY_FILE} may be read by others: chmod 600 it, or join again")
        return cls(folder, membership, key)


def join(folder: Path, url: str, token: str, name: str) -> Identity:
    """Make a key, join the galaxy at `url` with a join token, and keep both; raise JoinRefused and keep nothing.

    Joined already under this name at this URL, it stays as it is.
    """
    if (folder / DEVICE_FILE).exists():
        identity = Identity.load(folder)
        if (identity.membership.device, identity.membership.url) == (name, url):
            return identity
        raise JoinRefused(f"{folder} belongs to {identity.membership.device}: choose another with --state")
    key = Ed25519PrivateKey.generate()
    try:
        # Before Galaxy is asked: it accepts a name once, and a disk that is full would then be found too late.
        _prepare(folder, key)
        galaxy = _accepted(url, token, name, key)
        membership = Membership(name, galaxy, url)
        if not (folder / GUARD_FILE).exists():
            _write(folder / GUARD_FILE, GUARD_TOML.encode())
        _write(folder / DEVICE_FILE, msgspec.json.format(msgspec.json.encode(membership)))
    except OSError as exc:
        raise JoinRefused(f"cannot write in {folder}: {exc}") from exc
    except JoinRefused:
        (folder / KEY_FILE).unlink()
        raise
    return Identity(folder, membership, key)


def locked(folder: Path) -> int:
    """Hold the folder for this process until it ends, however it ends; raise StateInUse."""
    descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        text = f"another agent works in {folder}: stop it, or give this one a folder with --state"
        raise StateInUse(text, folder / LOCK_FILE) from None
    return descriptor


def _prepare(folder: Path, key: Ed25519PrivateKey) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    secret = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    _write(folder / KEY_FILE, base64.b64encode(secret))


def _accepted(url: str, token: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return the id of the galaxy that has accepted the device; raise JoinRefused."""
    public = base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    body = {"token": token, "name": name, "public_key": public}
    try:
        answer = httpx2.post(f"{url}/v1/join", json=body, timeout=JOIN_WITHIN_S, trust_env=False)
    except (httpx2.HTTPError, httpx2.InvalidURL) as exc:
        raise JoinRefused(f"cannot reach {url}: {exc}") from exc
    if answer.status_code != httpx2.codes.CREATED:
        raise JoinRefused(_problem(answer))
    try:
        return str(answer.json()["galaxy"])
    except (ValueError, KeyError, TypeError):
        raise JoinRefused(_problem(answer)) from None


def _problem(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the answer was {answer.status_code} {answer.reason_phrase}; is this a galaxy's URL?"


def _write(path: Path, content: bytes) -> None:
    """Write the file whole, never readable by anyone else."""
    partial = path.with_name(path.name + ".new")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
