"""What the core asks the shell to do. Imperative, frozen, safe to repeat."""

import msgspec
from msgspec import Raw, Struct

from protocol.vocabulary import Effect, Verdict

from .attempt import AttemptId, Purpose
from .events import StarLeased
from .star import Star


class _Instruct(Struct, frozen=True, kw_only=True):
    """The arguments of the tool by which a device follows an instruction."""

    text: str
    tips: str
    tools: tuple[str, ...]
    steps_max: int
    tokens_max: int
    output: Raw
    inputs: Raw


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


class Reconcile(Struct, frozen=True, gc=False):
    """Tell the device what becomes of an attempt that it holds."""

    device: str
    attempt: AttemptId
    verdict: Verdict
    reason: str


class Disconnect(Struct, frozen=True):
    """End the device's session; it may not come back."""

    device: str
    reason: str


class TellDrain(Struct, frozen=True):
    """Tell the device that it gets no new work."""

    device: str
    reason: str


class AskPlanner(Struct, frozen=True):
    """Put the constellation's open question to its planner."""

    constellation: str
    consult: int


class StopAsking(Struct, frozen=True):
    """Nobody waits for the answer any more."""

    constellation: str
    consult: int


DeviceOrder = Dispatch | Revoke | Reconcile | Disconnect | TellDrain
PlannerOrder = AskPlanner | StopAsking
Order = DeviceOrder | PlannerOrder


def equipped(star: Star, tools: tuple[str, ...]) -> Star:
    """Return the star with the tools that were found by the words of its instruction."""
    if star.instruction is None or not star.instruction.match:
        return star
    return msgspec.structs.replace(star, instruction=msgspec.structs.replace(star.instruction, tools=tools))


def called_with(star: Star, bound: Raw) -> Raw:
    """Return the arguments of a star's call: those of an instruction are its words, limits, and inputs."""
    if star.instruction is None:
        return bound
    said = msgspec.structs.asdict(star.instruction)
    del said["match"]  # how its tools were found is nothing to the device
    return Raw(msgspec.json.encode(_Instruct(inputs=bound, **said)))


def dispatched(star: Star, event: StarLeased, bound: Raw | None) -> Dispatch:
    """Return the order that carries out a lease; `bound` are the arguments with their bindings replaced."""
    star = equipped(star, event.tools)
    tool, arguments = star.tool, called_with(star, bound or star.arguments)
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
        stop_after_s=star.disconnect.stops_after_s,
    )
