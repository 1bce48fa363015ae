"""Who comes in: how many may be greeting at once, when the others shall come again, and who has proved who it is.

A socket greets from its first frame until the device behind it is recorded as connected, or the socket is done with.
"""

import base64
from collections.abc import Callable
from random import Random

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocol.codec import proof_of
from protocol.errors import RemoteProtocolError
from protocol.messages import Hello
from protocol.session import Session
from protocol.states import CHALLENGED
from protocol.vocabulary import VERSION, ByeCode

from .core.fleet import Fleet, Presence
from .hearing import attempt_of

GREETINGS_MAX = 256
SAY_HELLO_WITHIN_S = 1.0  # where others want in; else as long as the session allows
RETURNS_PER_S = 100  # devices that may come back at once beside a node's work
SPREAD_LEAST_S, SPREAD_MOST_S = 1.0, 60.0


class Greetings:
    """All sockets that are in their greeting."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._began: dict[Session, tuple[float, Callable[[], None]]] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._began)

    def begin(self, session: Session, wake: Callable[[], None], now: float, devices: int) -> bool:
        """Return whether the socket may greet; else goodbye is said to it. `wake` lets its link say so later, too.

        When all places are taken, one that has been silent goes to who has just come: strangers that dial and say
        nothing keep nobody out.
        """
        if len(self._began) >= GREETINGS_MAX:
            silent = self._silent_since(now - SAY_HELLO_WITHIN_S)
            if silent is None:
                self._send_away(session, devices)
                return False
            _, wake_silent = self._began.pop(silent)
            self._send_away(silent, devices)
            wake_silent()
        self._began[session] = (now, wake)
        return True

    def end(self, session: Session) -> None:
        """Free the socket's place."""
        self._began.pop(session, None)

    def return_after_s(self, devices: int, least_s: float = 0.0) -> float:
        """Return when one of so many devices that all go now shall come back: the more, the further spread."""
        return self._random.uniform(0.0, max(least_s, min(devices / RETURNS_PER_S, SPREAD_MOST_S)))

    def _send_away(self, session: Session, devices: int) -> None:
        reason = f"{GREETINGS_MAX} others are greeting"
        session.close(ByeCode.OVERLOADED, reason, retry_after_s=self.return_after_s(devices, SPREAD_LEAST_S))

    def _silent_since(self, at: float) -> Session | None:
        for session, (began, _) in self._began.items():
            if began > at:
                return None
            if session.state is CHALLENGED:
                return session
        return None


def require_proof(fleet: Fleet, galaxy_id: str, nonce: str, hello: Hello, session: Session) -> None:
    """Raise RemoteProtocolError unless the device's own key signed this very challenge."""
    if hello.version != VERSION:
        raise RemoteProtocolError(ByeCode.VERSION, f"version {hello.version} is not spoken here, only {VERSION}")
    device = fleet.devices.get(hello.device)
    if device is None or device.presence is Presence.REVOKED:
        session.close(ByeCode.REVOKED, f"{hello.device} has not joined, or was revoked", terminal=True)
        raise RemoteProtocolError(ByeCode.REVOKED, f"{hello.device} has not joined, or was revoked")
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(device.public_key))
        proof = proof_of(galaxy_id, nonce, hello.device, hello.boot)
        key.verify(base64.b64decode(hello.signature), proof)
    except (InvalidSignature, ValueError) as exc:
        raise RemoteProtocolError(ByeCode.UNAUTHENTICATED, "the signature is not by this device's key") from exc
    for held in hello.held:
        attempt_of(held.attempt)
