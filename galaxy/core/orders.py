"""What the core asks the shell to do. Imperative, frozen, safe to repeat."""

from msgspec import Raw, Struct

from protocol.vocabulary import Effect

from .attempt import AttemptId, Purpose
from .events import StarLeased
from .star import Star


class Dispatch(Struct, frozen=True, gc=False):
    """Give the device this attempt."""

    device: str
    attempt: AttemptId
    tool: str
    arguments: Raw
    effect: Effect
    run_s: float
    idle_s: float
    stop_after_s: float


class Revoke(Struct, frozen=True, gc=False):
    """Tell the device to stop this attempt and say how it ended."""

    device: str
    attempt: AttemptId
    reason: str


class Disconnect(Struct, frozen=True):
    """End the device's session; it may not come back."""

    device: str
    reason: str


class TellDrain(Struct, frozen=True):
    """Tell the device that it gets no new work."""

    device: str
    reason: str


Order = Dispatch | Revoke | Disconnect | TellDrain


def dispatched(star: Star, event: StarLeased, bound: Raw | None) -> Dispatch:
    """Return the order that carries out a lease; `bound` are the arguments with their bindings replaced."""
    tool, arguments = star.tool, bound or star.arguments
    if event.purpose is Purpose.VERIFY:
        assert star.verify, "only a star that says how is verified"
        tool, arguments = star.verify.tool, star.verify.arguments
    return Dispatch(
        device=event.device,
        attempt=AttemptId(event.constellation, event.star, event.attempt),
        tool=tool,
        arguments=arguments,
        effect=event.effect,
        run_s=star.timeouts.run_s,
        idle_s=star.timeouts.idle_s,
        stop_after_s=star.disconnect.stop_after_s,
    )
