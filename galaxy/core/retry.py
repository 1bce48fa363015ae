"""Whether a failed attempt is followed by another, and when."""

from hashlib import blake2b

from protocol.vocabulary import Effect, Failure

from .attempt import AttemptId
from .star import Retry

REPEATABLE = frozenset({Effect.PURE, Effect.IDEMPOTENT})


def may_repeat(failure: Failure, effect: Effect, *, began: bool) -> bool:
    """Return whether policy lets the same call be made again after this failure."""
    return failure.retryable and (not began or effect in REPEATABLE)


def delay_s(policy: Retry, attempt: AttemptId, failures: int) -> float:
    """Return how long to wait before the next attempt, after so many failures.

    Exponential back-off with full jitter: uniform in [0, min(cap, backoff * factor^(failures-1))]. The core draws no
    random number; the attempt's own id is hashed instead, which spreads as well and replays the same.
    """
    try:
        ceiling = min(policy.cap_s, policy.backoff_s * policy.factor ** (failures - 1))
    except OverflowError:
        ceiling = policy.cap_s
    if not policy.jitter:
        return ceiling
    digest = blake2b(str(attempt).encode(), digest_size=8).digest()
    return ceiling * int.from_bytes(digest) / 2**64
