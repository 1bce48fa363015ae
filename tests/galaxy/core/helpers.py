"""Events with named arguments, and a core that keeps what happened to it."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw

from galaxy.core.attempt import AttemptId, LeaseEnd
from galaxy.core.binding import bindings_in
from galaxy.core.constellation import Constellation
from galaxy.core.course import Course
from galaxy.core.edit import AnyOperation, Edit
from galaxy.core.events import (
    AnswerRefused,
    ApprovalDenied,
    ApprovalGiven,
    CancelRequested,
    ConstellationEdited,
    ConstellationEvent,
    ConstellationPaused,
    ConstellationResumed,
    ConstellationSubmitted,
    ConsultClosed,
    DeviceConnected,
    DeviceDisconnected,
    DeviceDraining,
    DeviceJoined,
    DeviceRevoked,
    Event,
    GoalGivenUp,
    GoalReached,
    JoinTokenMinted,
    LeaseEnded,
    RuleMade,
    StarAccepted,
    StarReported,
)
from galaxy.core.goal import ConsultEnd
from galaxy.core.orchestrator import Orchestrator
from galaxy.core.orders import AskPlanner, Dispatch, Order, Reconcile, StopAsking
from galaxy.core.snapshot import Snapshot, restored, taken
from galaxy.core.star import Line, Retry, Star, When
from protocol.vocabulary import Effect, Failure, Held, Holding, Kind, Outcome, Profile, ToolSpec

EMPTY = Raw(b"{}")
DUE_MAX = 2_000  # events that one event may bring about; more means that `due` never comes to an end
NO_RETRY = Retry(attempts=1)
AT_ONCE = Retry(attempts=3, backoff_s=0.0)
STEADY = Retry(attempts=3, backoff_s=10.0, jitter=False)
OOPS = Failure("oops", "it broke")
AGAIN = Failure("busy", "try again", retryable=True)


class Log:
    """A core, and all that happened to it, so that it can be replayed."""

    def __init__(self) -> None:
        self.core = Orchestrator()
        self.events: list[Event] = []
        self.now = 0.0
        self.store_is_slow = False  # then what is decided does not go out by itself

    def feed(self, *events: Event) -> list[Order]:
        """Check and apply each event and what it makes due; return the orders, in order."""
        orders: list[Order] = []
        for event in events:
            self.core.check(event)
            self.now = max(self.now, event.at)
            orders += self._applied(event)
            orders += self.wait(event.at)
        return orders

    def wait(self, until: float) -> list[Order]:
        """Let time pass, with a look at each deadline on the way; return the orders."""
        orders: list[Order] = []
        while True:
            deadline = self.core.next_deadline()
            at = max(self.now, min(until, deadline)) if deadline is not None else until
            for n, event in enumerate(self.core.due(at)):
                assert n < DUE_MAX, "due does not come to an end"
                self.core.check(event)
                orders += self._applied(event)
            self.now = max(self.now, at)
            later = self.core.next_deadline()
            assert later is None or later > at, "what is due was not said"
            if later is None or later > until:
                self.now = max(self.now, until)
                return orders

    def _applied(self, event: Event) -> list[Order]:
        self.events.append(event)
        orders = self.core.apply(event)
        if not self.store_is_slow:
            self.go_out(orders, event.at)
        return orders

    def go_out(self, orders: list[Order], at: float) -> None:
        """What was decided is recorded, and the devices are told."""
        for order in orders:
            if isinstance(order, Dispatch):
                self.core.leases.went_out(order, at)

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of a kind, oldest first."""
        return [event for event in self.events if type(event) is kind]

    # Looking.

    def constellation(self, constellation_id: str = "c") -> Constellation:
        """Return it as its own stream of events makes it: also when it has ended."""
        return replayed(event for event in stream(self.events, constellation_id))

    def course(self, star_id: str, constellation_id: str = "c") -> Course:
        return self.constellation(constellation_id).courses[star_id]

    def states(self, constellation_id: str = "c") -> dict[str, str]:
        return {name: str(course.state) for name, course in self.constellation(constellation_id).courses.items()}

    def why(self, star_id: str, constellation_id: str = "c") -> str:
        """Return the explanation of why a star waits."""
        constellation = self.core.constellations[constellation_id]
        wait = self.core.explained(constellation, constellation.courses[star_id])
        return wait.reason if wait else ""


class KeptLog(Log):
    """A log that is compared with what replay and a snapshot make of it, each time that something has happened."""

    def feed(self, *events: Event) -> list[Order]:
        orders = super().feed(*events)
        again = reloaded(self)
        for name, constellation in self.core.constellations.items():
            kept = encoded(constellation)
            assert encoded(self.constellation(name)) == kept, "replay gives another state"
            assert encoded(again.core.constellations[name]) == kept, "a snapshot brings back another state"
        return orders


def stream(events: Iterable[Event], constellation_id: str) -> list[ConstellationEvent]:
    return [e for e in events if isinstance(e, ConstellationEvent) and e.constellation == constellation_id]


def replayed(events: Iterable[ConstellationEvent]) -> Constellation:
    """Return the constellation that its stream makes."""
    constellation = Constellation("")
    for event in events:
        constellation.id = event.constellation
        constellation.apply(event)
    return constellation


def encoded(constellation: Constellation) -> bytes:
    return msgspec.json.encode(taken(constellation))


def reloaded(log: Log) -> Log:
    """Return a core that was built anew from snapshots of the old one."""
    after = Log()
    after.now, after.events = log.now, list(log.events)
    snapshots = [msgspec.json.decode(encoded(c), type=Snapshot) for c in log.core.constellations.values()]
    fleet = msgspec.json.decode(msgspec.json.encode(log.core.fleet), type=type(log.core.fleet))
    after.core.restore(fleet, [restored(snapshot) for snapshot in snapshots], log.now)
    return after


# Stars, lines, constellations.


def star(name: str, **more: Any) -> Star:
    """Return a star for the tool `shell`; `arguments` may be any JSON, with bindings."""
    if "arguments" in more and not isinstance(more["arguments"], Raw):
        more["bindings"] = bindings_in(more["arguments"])
        more["arguments"] = Raw(msgspec.json.encode(more["arguments"]))
    return Star(**{"id": name, "tool": "shell", "retry": NO_RETRY, **more})


def line(text: str, when: When = When.SUCCESS, condition: str = "") -> Line:
    source, _, target = text.partition(">")
    return Line(source, target, When.CONDITION if condition else when, condition)


def submit(*parts: Star | Line, c: str = "c", at: float = 0.0, **more: Any) -> ConstellationSubmitted:
    stars = tuple(part for part in parts if isinstance(part, Star))
    lines = tuple(part for part in parts if isinstance(part, Line))
    return ConstellationSubmitted(at=at, constellation=c, name="test", stars=stars, lines=lines, **more)


def pair(when: When = When.SUCCESS, *, c: str = "c", at: float = 0.0, **more: Any) -> ConstellationSubmitted:
    """Two stars, `a` then `b`; what more is said is said of `a`."""
    return submit(star("a", **more), star("b"), line("a>b", when), c=c, at=at)


def edit(*operations: AnyOperation, c: str = "c", base: int = 1, at: float = 1.0, by: str = "") -> ConstellationEdited:
    return ConstellationEdited(at=at, constellation=c, base=base, edit=Edit(operations), by=by)


def pause(at: float, c: str = "c") -> ConstellationPaused:
    return ConstellationPaused(at=at, constellation=c, reason="lunch")


def resume(at: float, c: str = "c") -> ConstellationResumed:
    return ConstellationResumed(at=at, constellation=c)


def cancel(at: float, c: str = "c") -> CancelRequested:
    return CancelRequested(at=at, constellation=c, reason="enough")


# Devices.


def tool(name: str, effect: Effect = Effect.IDEMPOTENT) -> ToolSpec:
    return ToolSpec(name, name, effect, EMPTY, EMPTY)


def profile(
    slots: int = 1, tools: tuple[str, ...] = ("shell",), effect: Effect = Effect.IDEMPOTENT, **labels: str
) -> Profile:
    """Return what a device offers; its tool `look` is pure, whatever the others are."""
    offered = tuple(tool(name, Effect.PURE if name == "look" else effect) for name in tools)
    return Profile(Kind.DESKTOP, slots, offered, labels)


LAPTOP = profile()


def connect(
    device: str = "laptop",
    at: float = 0.0,
    *,
    resumed: bool = False,
    held: tuple[str, ...] = (),
    finished: tuple[str, ...] = (),
    boot: str = "boot-1",
    profile: Profile = LAPTOP,
) -> DeviceConnected:
    holding = [Held(attempt, Holding.RUNNING) for attempt in held]
    holding += [Held(attempt, Holding.FINISHED) for attempt in finished]
    return DeviceConnected(at=at, device=device, boot=boot, profile=profile, resumed=resumed, held=tuple(holding))


def joined(device: str, at: float = 0.0) -> tuple[Event, Event]:
    return (
        JoinTokenMinted(at=at, digest=device, expires_at=at + 60.0),
        DeviceJoined(at=at, device=device, public_key="key", token_digest=device),
    )


def device(
    name: str = "laptop",
    at: float = 0.0,
    *,
    slots: int = 1,
    tools: tuple[str, ...] = ("shell",),
    effect: Effect = Effect.IDEMPOTENT,
    **labels: str,
) -> tuple[Event, Event, Event]:
    """A device joins and connects."""
    return *joined(name, at), connect(name, at, profile=profile(slots, tools, effect, **labels))


def disconnect(device: str = "laptop", at: float = 1.0) -> DeviceDisconnected:
    return DeviceDisconnected(at=at, device=device, reason="the socket closed")


def drain(device: str = "laptop", at: float = 1.0) -> DeviceDraining:
    return DeviceDraining(at=at, device=device, reason="evening")


def revoke(device: str = "laptop", at: float = 1.0) -> DeviceRevoked:
    return DeviceRevoked(at=at, device=device, reason="stolen")


# What devices say of attempts: `c/a#1`.


def accept(attempt: str, at: float = 1.0, by: str = "laptop") -> StarAccepted:
    c, s, n = AttemptId.parse(attempt)
    return StarAccepted(at=at, constellation=c, star=s, attempt=n, device=by)


def report(
    attempt: str,
    outcome: Outcome = Outcome.SUCCEEDED,
    at: float = 1.0,
    *,
    by: str = "laptop",
    result: Any = None,
    failure: Failure | None = None,
    ran_s: float = 1.0,
) -> StarReported:
    c, s, n = AttemptId.parse(attempt)
    return StarReported(
        at=at,
        constellation=c,
        star=s,
        attempt=n,
        device=by,
        outcome=outcome,
        result=result if isinstance(result, Raw) else Raw(msgspec.json.encode(result)),
        failure=failure,
        ran_s=ran_s,
    )


def done(attempt: str, at: float = 1.0, *, by: str = "laptop", result: Any = None) -> StarReported:
    return report(attempt, Outcome.SUCCEEDED, at, by=by, result=result)


def fail(attempt: str, at: float = 1.0, *, by: str = "laptop", failure: Failure = OOPS) -> StarReported:
    return report(attempt, Outcome.FAILED, at, by=by, failure=failure)


def unknown(attempt: str, at: float = 1.0, *, by: str = "laptop") -> StarReported:
    return report(attempt, Outcome.UNKNOWN, at, by=by)


def stopped(attempt: str, at: float = 1.0, *, by: str = "laptop") -> StarReported:
    return report(attempt, Outcome.CANCELLED, at, by=by)


def reject(attempt: str, at: float = 1.0, *, by: str = "laptop", failure: Failure = AGAIN) -> LeaseEnded:
    c, s, n = AttemptId.parse(attempt)
    cause = LeaseEnd.REJECTED
    return LeaseEnded(at=at, constellation=c, star=s, attempt=n, device=by, cause=cause, failure=failure)


# What planners say of questions, and people of calls.


def answer(*operations: AnyOperation, to: int = 1, base: int = 1, at: float = 2.0, c: str = "c") -> ConstellationEdited:
    edit = Edit(operations, "try this")
    return ConstellationEdited(at=at, constellation=c, base=base, edit=edit, by="planner:x", consult=to, rebase=True)


def refuse(reason: str = "no", to: int = 1, at: float = 2.0, c: str = "c") -> AnswerRefused:
    return AnswerRefused(at=at, constellation=c, consult=to, reason=reason, by="planner:x")


def close(end: ConsultEnd = ConsultEnd.FAILED, to: int = 1, at: float = 2.0, c: str = "c") -> ConsultClosed:
    return ConsultClosed(at=at, constellation=c, consult=to, end=end, reason="it is ill")


def reach(value: Any = "", to: int = 1, at: float = 2.0, *, c: str = "c", despite: tuple[str, ...] = ()) -> GoalReached:
    encoded_value = Raw(msgspec.json.encode(value))
    return GoalReached(at=at, constellation=c, consult=to, answer=encoded_value, despite=despite, reason="all is well")


def give_up(to: int = 1, at: float = 2.0, c: str = "c") -> GoalGivenUp:
    return GoalGivenUp(at=at, constellation=c, consult=to, reason="it cannot be done")


def approve(attempt: str, at: float = 1.0, by: str = "anna") -> ApprovalGiven:
    c, s, n = AttemptId.parse(attempt)
    return ApprovalGiven(at=at, constellation=c, star=s, attempt=n, by=by)


def deny(attempt: str, at: float = 1.0, by: str = "anna") -> ApprovalDenied:
    c, s, n = AttemptId.parse(attempt)
    return ApprovalDenied(at=at, constellation=c, star=s, attempt=n, by=by, reason="too dear")


def allow(pattern: Any, at: float = 0.0, **more: Any) -> RuleMade:
    """A rule of Anna's for the tool `shell`, for 1,000 s."""
    more = {"rule": "r", "tool": "shell", "expires_at": at + 1_000.0, "by": "anna", **more}
    return RuleMade(at=at, pattern=Raw(msgspec.json.encode(pattern)), **more)


def told(orders: list[Order]) -> list[str]:
    """Return the orders as short sentences."""
    said = []
    for order in orders:
        if isinstance(order, AskPlanner | StopAsking):
            said.append(f"{type(order).__name__.lower()} {order.constellation}/{order.consult}")
            continue
        what = f" {order.attempt}" if hasattr(order, "attempt") else ""
        if isinstance(order, Reconcile):
            said.append(f"{order.verdict} {order.attempt} at {order.device}: {order.reason}")
            continue
        where = "to" if isinstance(order, Dispatch) else "at"
        said.append(f"{type(order).__name__.lower()}{what} {where} {order.device}")
    return said
