"""What simulated devices can do: calls that take time, fail, crash or lie as their arguments and the seed say.

Each tells the history when it really began, had its effect, and ended.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from msgspec import Struct

from device_agents.tools.base import Context, Tool, ToolFailed
from protocol.vocabulary import Effect

from . import history
from .ground import Ground
from .loop import OWNER

FATES = ("fails", "is_fatal", "crashes", "lies")


class Doing(Struct, frozen=True, omit_defaults=True):
    """How a call goes. What is not a time is how likely it is."""

    takes_s: float = 0.2
    notes: int = 0  # how often it tells how far it is
    size: int = 0  # bytes of the result
    fails: float = 0.0  # for now: another try may work
    is_fatal: float = 0.0  # for good
    crashes: float = 0.0  # by a bug, after its effect
    lies: float = 0.0  # it returns something else than it says it does
    feed: Any = None  # what an earlier star found


class Found(Struct, frozen=True):
    """What a call returns."""

    value: int
    text: str = ""


class Asked(Struct, frozen=True):
    """Which star's effect is asked about."""

    star: str


class Seen(Struct, frozen=True):
    """Whether it happened."""

    happened: bool


@dataclass
class Hands:
    """The device under the tools, as one process of it has them."""

    ground: Ground
    device: str
    slowness: float = 1.0
    after_effect: Callable[[], None] | None = None  # at the next effect that may happen once only


class _Doer:
    """A call with an effect."""

    limits: ClassVar[dict[str, int | float]] = {}
    effect: ClassVar[Effect]
    Arguments: ClassVar[type[Struct]] = Doing
    Result: ClassVar[Any] = Found

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    async def run(self, arguments: Doing, context: Context) -> Any:
        hands, record = self._hands, self._hands.ground.history
        chance = hands.ground.chance(f"{context.attempt}/{hands.device}")
        owner = OWNER.get()
        run = history.Run(
            context.attempt, type(self).__name__, self.effect, hands.device, owner.name if owner else "", record.now()
        )
        record.runs.append(run)
        takes_s = arguments.takes_s * chance.uniform(0.5, 1.5) * hands.slowness
        effect_at, fate = chance.random(), _fate(arguments, chance.random())
        try:
            await self._pass(takes_s * effect_at, arguments.notes, context)
            if fate in ("fails", "is_fatal"):
                raise ToolFailed("simulated", f"it {fate}", retryable=fate == "fails")
            self._happen(context.attempt)
            await self._pass(takes_s * (1 - effect_at), 0, context)
            if fate == "crashes":
                raise RuntimeError("a simulated bug")
            return {"lie": True} if fate == "lies" else Found(chance.randrange(100), "x" * arguments.size)
        finally:
            if not record.over:
                run.ended_at = record.now()

    def _happen(self, attempt: str) -> None:
        record, star = self._hands.ground.history, attempt.rpartition("#")[0]
        if not record.over:
            record.effects.append(history.Effect(record.now(), attempt, star, self.effect, self._hands.device))
            if self.effect is Effect.ONCE and (after := self._hands.after_effect):
                self._hands.after_effect = None
                after()

    async def _pass(self, seconds: float, notes: int, context: Context) -> None:
        for note in range(notes):
            await asyncio.sleep(seconds / (notes + 1))
            context.progress(f"part {note + 1}", (note + 1) / (notes + 1))
        await asyncio.sleep(seconds / (notes + 1))


class Look(_Doer):
    """Look at something."""

    name: ClassVar[str] = "sim.look"
    effect: ClassVar[Effect] = Effect.PURE


class Put(_Doer):
    """Put something where it belongs."""

    name: ClassVar[str] = "sim.put"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT


class Act(_Doer):
    """Do something that may happen once only."""

    name: ClassVar[str] = "sim.act"
    effect: ClassVar[Effect] = Effect.ONCE


class Check:
    """Tell whether a star's effect has happened."""

    name: ClassVar[str] = "sim.check"
    effect: ClassVar[Effect] = Effect.PURE
    limits: ClassVar[dict[str, int | float]] = {}
    Arguments: ClassVar[type[Struct]] = Asked
    Result: ClassVar[Any] = Seen

    def __init__(self, hands: Hands) -> None:
        self._hands = hands

    async def run(self, arguments: Asked, context: Context) -> Seen:
        await asyncio.sleep(0.05 * self._hands.slowness)
        return Seen(any(effect.star == arguments.star for effect in self._hands.ground.history.effects))


def tools(hands: Hands) -> dict[str, Tool]:
    """Return a device's tools by name."""
    made: list[Tool] = [Look(hands), Put(hands), Act(hands), Check(hands)]
    return {tool.name: tool for tool in made}


def _fate(arguments: Doing, drawn: float) -> str:
    """Return what becomes of the call."""
    for fate in FATES:
        likely: float = getattr(arguments, fate)
        if drawn < likely:
            return fate
        drawn -= likely
    return "works"
