"""The real core runs constellations in virtual time, by one of its policies. It is told what a galaxy is told."""

from collections.abc import Iterable
from heapq import heappop, heappush
from math import inf

import msgspec
from msgspec import Raw

from galaxy.core.binding import bindings_in
from galaxy.core.events import ConstellationSubmitted, Event, StarReported
from galaxy.core.fleet_events import DeviceConnected, DeviceJoined, DeviceVitals, JoinTokenMinted
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.orders import Dispatch, Order
from galaxy.core.placement.policies import POLICIES
from galaxy.core.star import Line, Star, Timeouts
from protocol.vocabulary import Effect, Kind, Outcome, Profile, ToolSpec, Vitals

from .instance import Graph, Instance, Machine, Work

PATIENT = Timeouts(queue_s=0.0, run_s=0.0)


class Play:
    """One core and one fleet; constellations are played one after another."""

    def __init__(self, made: Instance, policy: str, *, interactive: str = "") -> None:
        self._made = made
        self._core = Orchestrator(POLICIES[policy]())
        self._now = 0.0
        self._played = 0
        self._reports: list[tuple[float, int, StarReported]] = []
        self._number = 0
        for machine in made.machines.values():
            self._feed(*_joined(machine, interactive))

    def makespan(self, graph: Graph) -> float:
        """Run the graph; return how long that took."""
        self._played += 1
        name, began = f"c{self._played}", self._now
        made_on: dict[str, str] = {}
        stars = tuple(_star(work) for work in graph.stars.values())
        lines = tuple(Line(source, work.name) for work in graph.stars.values() for source in work.sources)
        submitted = ConstellationSubmitted(at=began, constellation=name, name=name, stars=stars, lines=lines)
        self._serve(graph, made_on, self._feed(submitted))
        while name in self._core.constellations:
            deadline = self._core.next_deadline()
            assert self._reports or deadline is not None, "nothing will ever happen again"
            reported = self._reports[0][0] if self._reports else inf
            if told := self._told_by(min(reported, inf if deadline is None else deadline)):
                self._now = max(self._now, told.at)
                self._serve(graph, made_on, self._feed(told))
            elif deadline is None or reported <= deadline:
                self._now, _, report = heappop(self._reports)
                made_on[report.star] = report.device
                self._serve(graph, made_on, self._feed(report))
            else:
                self._now = max(self._now, deadline)
                self._serve(graph, made_on, self._due())
        return self._now - began

    def _feed(self, *events: Event) -> list[Order]:
        orders: list[Order] = []
        for event in events:
            self._core.check(event)
            orders += self._core.apply(event)
        return orders + self._due()

    def _told_by(self, at: float) -> Event | None:
        """Return what a device tells next, if that is by then."""
        return None

    def _saw(self, event: Event) -> None:
        """Something was decided."""

    def _due(self) -> list[Order]:
        orders: list[Order] = []
        for event in self._core.due(self._now):
            self._saw(event)
            orders += self._core.apply(event)
        return orders

    def _serve(self, graph: Graph, made_on: dict[str, str], orders: Iterable[Order]) -> None:
        for order in orders:
            if isinstance(order, Dispatch):
                work = graph.stars[order.attempt.star]
                ran_s = self._made.runs_s(work, order.device)
                at = self._now + ran_s + self._made.moves_s(graph, work, order.device, made_on)
                self._number += 1
                heappush(self._reports, (at, self._number, _report(order, work, at, ran_s)))


def _joined(machine: Machine, interactive: str) -> tuple[Event, ...]:
    effects = {tool: Effect.INTERACTIVE if tool == interactive else Effect.PURE for tool in machine.factors}
    tools = tuple(ToolSpec(tool, "", effect, Raw(b"{}"), Raw(b"{}")) for tool, effect in effects.items())
    name, profile = machine.name, Profile(Kind.SERVER, machine.slots, tools)
    return (
        JoinTokenMinted(at=0.0, digest=name, expires_at=1.0),
        DeviceJoined(at=0.0, device=name, public_key="", token_digest=name),
        DeviceConnected(at=0.0, device=name, boot="1", profile=profile),
        DeviceVitals(at=0.0, device=name, vitals=Vitals(link_bytes_per_s=machine.rate)),
    )


def _star(work: Work) -> Star:
    inputs = {source: {"$from": source, "pointer": "/made"} for source in work.sources}
    arguments = Raw(msgspec.json.encode(inputs))
    return Star(work.name, work.tool, arguments, bindings=bindings_in(inputs), timeouts=PATIENT)


def _report(order: Dispatch, work: Work, at: float, ran_s: float) -> StarReported:
    result = {"made": {"$artifact": "0" * 64, "bytes": work.bytes, "media_type": "application/octet-stream"}}
    return StarReported(
        at=at,
        constellation=order.attempt.constellation,
        star=order.attempt.star,
        attempt=order.attempt.number,
        device=order.device,
        outcome=Outcome.SUCCEEDED,
        result=Raw(msgspec.json.encode(result)),
        ran_s=ran_s,
    )
