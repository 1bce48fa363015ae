"""The tools of time series: keep readings on the device, ask for them coarse or fine, wait until one crosses a line."""

import asyncio
import time
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from protocol.vocabulary import Effect

from ...errors import ToolFailed
from ..base import Context
from .store import Reading, SeriesStore, Span

POINTS_MAX = 2_000
_TELL_EVERY_S = 1.0

Series = Annotated[str, Meta(pattern="^[A-Za-z0-9_./-]{1,100}$", description="A series; a sensor's has its name.")]
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]
Time = Annotated[float, Meta(ge=0, le=1e11, description="Seconds since 1970.")]
Point = tuple[Time, Finite]


class AppendArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Points of one series, each a time and a value."""

    series: Series
    points: Annotated[tuple[Point, ...], Meta(min_length=1, max_length=POINTS_MAX)]


class Appended(Struct, frozen=True):
    """How many points were kept."""

    count: int


class QueryArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which points are asked for."""

    series: Series
    since: Time = 0.0
    until: Time = 1e11
    after: Annotated[int, Meta(ge=0, description="Only those kept after this one: the `next` of an earlier query.")] = 0
    every_s: Annotated[float, Meta(ge=0, le=1e9, description="One point for each such time; 0: all as they are.")] = 0
    how: Annotated[Literal["mean", "min", "max", "sum", "count"], Meta(description="What that one point is.")] = "mean"
    limit: Annotated[int, Meta(ge=1, le=POINTS_MAX)] = 1_000
    bad: Annotated[bool, Meta(description="Whether readings outside of the sensor's range are told too.")] = False


class Points(Struct, frozen=True):
    """Points, in the order in which they were kept; coarser ones in the order of time."""

    points: list[tuple[float, float]]
    next: Annotated[int, Meta(description="Say it as `after` to go on from here.")]
    more: Annotated[bool, Meta(description="Whether there are more than the limit.")]


class WatchArguments(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which series is watched, and for what."""

    series: Series
    above: Finite | None = None
    below: Finite | None = None
    held_s: Annotated[float, Meta(ge=0, le=86_400, description="How long it has to be so without a break.")] = 0
    for_s: Annotated[float, Meta(gt=0, le=604_800, description="Give up after so long.")] = 3_600


class Crossed(Struct, frozen=True):
    """The reading that made it so."""

    at: float
    value: float
    waited_s: float


class _OnSeries:
    """What these tools share: the store of the device."""

    limits: ClassVar[dict[str, int | float]] = {"points": POINTS_MAX}

    def __init__(self, store: SeriesStore) -> None:
        self._store = store


class SeriesAppend(_OnSeries):
    """Keep points of a time series on the device. A point of the same time is replaced."""

    name: ClassVar[str] = "series.append"
    effect: ClassVar[Effect] = Effect.IDEMPOTENT
    Arguments: ClassVar[type[Struct]] = AppendArguments
    Result: ClassVar[type[Struct]] = Appended

    def __init__(self, store: SeriesStore, sensors: Collection[str] = ()) -> None:
        super().__init__(store)
        self._sensors = sensors

    async def run(self, arguments: AppendArguments, context: Context) -> Appended:
        if arguments.series in self._sensors:
            said = f"{arguments.series} is the series of a sensor, which only the sensor itself fills"
            raise ToolFailed(
                "denied", f"{said}; without [edge.sensors.{arguments.series}] in agent.toml it would be free"
            )
        readings = [Reading(arguments.series, at, value) for at, value in arguments.points]
        await self._store.add(folder_of(context), readings)
        return Appended(len(readings))


class SeriesQuery(_OnSeries):
    """Tell the points of a time series that the device has kept: all, from where one stopped, or one for each hour."""

    name: ClassVar[str] = "series.query"
    effect: ClassVar[Effect] = Effect.PURE
    Arguments: ClassVar[type[Struct]] = QueryArguments
    Result: ClassVar[type[Struct]] = Points

    async def run(self, arguments: QueryArguments, context: Context) -> Points:
        folder, limit = folder_of(context), arguments.limit
        span = Span(arguments.series, arguments.since, arguments.until, arguments.after, not arguments.bad)
        if arguments.every_s:
            points = await self._store.coarser(folder, span, arguments.every_s, arguments.how, limit + 1)
            return Points(points[:limit], arguments.after, len(points) > limit)
        found = await self._store.readings(folder, span, limit + 1)
        kept = found[:limit]
        told = [(reading.at, reading.value) for reading in kept]
        return Points(told, kept[-1].number if kept else arguments.after, len(found) > limit)


class SeriesWatch(_OnSeries):
    """Wait until a time series goes above or below a value, and tell the reading with which it did."""

    name: ClassVar[str] = "series.watch"
    effect: ClassVar[Effect] = Effect.PURE
    Arguments: ClassVar[type[Struct]] = WatchArguments
    Result: ClassVar[type[Struct]] = Crossed

    async def run(self, arguments: WatchArguments, context: Context) -> Crossed:
        if (arguments.above is None) == (arguments.below is None):
            raise ToolFailed("bad_arguments", "say one of `above` and `below`")
        began = time.monotonic()
        try:
            async with asyncio.timeout(arguments.for_s):
                reading = await self._crossed(arguments, context)
        except TimeoutError:
            said = f"{arguments.series} was not so in {arguments.for_s:g} s"
            raise ToolFailed("not_crossed", said) from None
        return Crossed(reading.at, reading.value, time.monotonic() - began)

    async def _crossed(self, arguments: WatchArguments, context: Context) -> Reading:
        folder = folder_of(context)
        last = await self._store.last(folder, arguments.series)
        news = [last] if last and last.good else []
        after = last.number if last else 0
        so_since: float | None = None
        told_at = 0.0
        while True:
            for reading in news:
                if not _is_so(arguments, reading.value):
                    so_since = None
                    continue
                so_since = reading.at if so_since is None else so_since
                if reading.at - so_since >= arguments.held_s:
                    return reading
            if news and time.monotonic() - told_at >= _TELL_EVERY_S:
                context.progress(f"{arguments.series} is {news[-1].value:g}", None)
                told_at = time.monotonic()
            changed = asyncio.create_task(self._store.changed())  # before the look, so that nothing falls between
            try:
                news = await self._store.readings(folder, Span(arguments.series, after=after), POINTS_MAX)
                if not news:
                    await changed
            finally:
                changed.cancel()
            after = news[-1].number if news else after


def _is_so(arguments: WatchArguments, value: float) -> bool:
    if arguments.above is not None:
        return value > arguments.above
    return arguments.below is not None and value < arguments.below


def folder_of(context: Context) -> Path:
    """Return where the device keeps its readings: beside its work folder, where no file tool reaches."""
    return context.guard.work_folder.parent
