"""What all parts of one simulated world stand on."""

import base64
from dataclasses import dataclass
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .history import History
from .loop import SimLoop
from .network import Network

GALAXY = "simulated"
STARTED_AT = 1_700_000_000.0  # what the wall clocks show when the world begins


@dataclass(frozen=True, slots=True)
class Ground:
    """One world's loop, network, history and source of chance."""

    seed: int
    loop: SimLoop
    network: Network
    history: History
    random: Random

    def chance(self, what: str) -> Random:
        """Return a source of its own for something, so that one thing more or less changes nothing else."""
        return Random(f"{self.seed}/{what}")


def public(key: Ed25519PrivateKey) -> str:
    """Return the public key as Galaxy keeps it."""
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def ids(random: Random, size: int) -> str:
    """Return a random id of so many bytes."""
    return random.randbytes(size).hex()
