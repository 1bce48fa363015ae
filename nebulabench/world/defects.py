"""Deliberate defects of the product, to be switched on one at a time: the judges must catch each.

Each replaces one function of the real code by one that lacks what the real one is careful about.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from device_agents.desk import Desk
from device_agents.ledger import Ledger
from device_agents.outbox import Outbox
from galaxy import journal
from galaxy import runner as runner_module
from galaxy.core import attempts, checks, leases, rivals
from galaxy.core.constellation import Constellation
from galaxy.core.placement.placer import Placer
from galaxy.core.star import Disconnect
from galaxy.gateway import Gateway
from galaxy.runner import Runner
from galaxy.store.errors import StoreUnavailable
from protocol.messages import Reconcile

Patch = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True)
class Defect:
    """What is wrong, the profile in which it shows soonest, and a seed that showed it."""

    name: str
    profile: str
    patches: Callable[[], list[Patch]]
    seed: int = 0


@contextmanager
def switched_on(defect: Defect) -> Iterator[None]:
    """Let the product have the defect for a while."""
    patches = defect.patches()
    kept = [(owner, name, owner.__dict__[name]) for owner, name, _ in patches]
    for owner, name, broken in patches:
        setattr(owner, name, broken)
    try:
        yield
    finally:
        for owner, name, right in kept:
            setattr(owner, name, right)


def _lease_not_kept() -> list[Patch]:
    """A device goes on for ever with what it cannot renew."""
    return [(Disconnect, "stops_after_s", 0.0)]


def _outbox_acknowledged_early() -> list[Patch]:
    """Galaxy acknowledges what it has heard before it has recorded it."""
    right = Gateway._hear

    async def hear(self: Gateway, guest: Any, messages: Any) -> None:
        if guest.device:
            guest.session.settle(guest.session.heard, self._now())
            if guest.link:
                guest.link.wake()
        await right(self, guest, messages)

    return [(Gateway, "_hear", hear)]


def _journal_not_consulted() -> list[Patch]:
    """An agent that starts does not look which calls a crash has cut off."""
    return [(Outbox, "unknown", lambda self: []), (Ledger, "completed", lambda self, assign: None)]


def _order_released_before_commit() -> list[Patch]:
    """Orders go out as soon as they are decided."""
    right = Runner._apply

    def apply(self: Runner, event: Any, work: Any) -> None:
        right(self, event, work)
        orders, work.orders = work.orders, []
        self.carry_out(orders)

    return [(Runner, "_apply", apply)]


def _answered_before_commit() -> list[Patch]:
    """Who tells something is answered as soon as it is applied."""
    right = Runner._settle

    def settle(self: Runner) -> None:
        right(self)
        dones, self._work.dones = self._work.dones, []
        for done, refusal in dones:
            done(refusal)

    return [(Runner, "_settle", settle)]


def _reconcile_keeps_both() -> list[Patch]:
    """A device goes on with what Galaxy says is superseded."""
    right = Desk.hear

    def hear(self: Desk, message: Any, now: float, completed: Any = None) -> Any:
        return [] if isinstance(message, Reconcile) else right(self, message, now, completed)

    return [(Desk, "hear", hear)]


def _slots_not_counted() -> list[Patch]:
    """A device is free however much it holds."""
    right = Placer.count_slots

    def count_slots(self: Placer, device_id: str) -> None:
        held, self.held[device_id] = self.held.get(device_id, {}), {}
        right(self, device_id)
        self.held[device_id] = held

    return [(Placer, "count_slots", count_slots)]


def _stale_report_accepted() -> list[Patch]:
    """Whoever speaks of an attempt is believed."""
    return [(checks, "_require_holder", lambda core, event: None)]


def _unknown_outcome_repeated() -> list[Patch]:
    """What was cut off is simply done again, whatever it was."""

    def again(c: Any, course: Any, attempt: Any, failure: Any, at: float) -> None:
        attempts._again_or_give_up(c, course, failure, repeatable=True, at=at)

    return [(attempts, "_outcome_unknown", again)]


def _substitute_for_anything() -> list[Patch]:
    """Also a call that may happen once only gets a second attempt beside the first."""
    right = rivals.Rivals._due_at

    def due_at(self: Any, constellation: Any, course: Any, attempt: Any, device: Any) -> float | None:
        if device is None or attempt.stopping or len(course.open) > 1 or device.presence == "connected":
            return right(self, constellation, course, attempt, device)
        at: float = device.since + 1.0
        return at

    return [(rivals.Rivals, "_due_at", due_at)]


def _failed_commit_forgotten() -> list[Patch]:
    """What could not be recorded is not tried again."""
    right = Runner._record

    async def record(self: Runner, work: Any) -> None:
        append = self._store.append

        async def once(batch: Any) -> None:
            try:
                await append(batch)
            except StoreUnavailable:
                return

        self._store.append = once  # type: ignore[method-assign]
        await right(self, work)
        self._store.append = append  # type: ignore[method-assign]

    return [(Runner, "_record", record)]


def _ended_while_it_may_act() -> list[Patch]:
    """A constellation ends though a device still holds an attempt of it."""
    return [(Constellation, "is_over", property(lambda self: not self.unfinished and not self.dialogue.has_open()))]


def _lost_too_soon() -> list[Patch]:
    """An attempt is given up as soon as its device is gone."""
    return [
        (leases, "lost_at", lambda device, course: device.since),
        (leases, "stopped_at", lambda device, course: None),
    ]


def _wrong_revision_accepted() -> list[Patch]:
    """An edit is made whatever revision it was made against."""
    right = checks._require_editable

    def require(core: Any, event: Any) -> None:
        constellation = core.constellation(event.constellation)
        kept, constellation.revision = constellation.revision, event.base
        try:
            right(core, event)
        finally:
            constellation.revision = kept

    return [(checks, "_require_editable", require)]


def _tail_not_replayed() -> list[Patch]:
    """On its start a node overlooks the last event of each constellation."""
    right = journal.replay
    return [(journal, "replay", lambda constellation, rows: right(constellation, list(rows)[:-1]))]


def _clock_in_the_way() -> list[Patch]:
    """The mind sleeps through its deadlines."""
    return [(runner_module.Runner, "_until_deadline", lambda self: None)]


DEFECTS = (
    Defect("the lease is not kept", "harsh", _lease_not_kept),
    Defect("the outbox is acknowledged early", "harsh", _outbox_acknowledged_early, 1),
    Defect("the journal is not consulted", "harsh", _journal_not_consulted, 5),
    Defect("an order is released before its commit", "harsh", _order_released_before_commit, 1),
    Defect("an answer is given before its commit", "harsh", _answered_before_commit),
    Defect("reconciliation keeps both", "harsh", _reconcile_keeps_both, 306),
    Defect("slots are not counted", "mild", _slots_not_counted),
    Defect("a stale report is accepted", "harsh", _stale_report_accepted),
    Defect("an unknown outcome is repeated", "harsh", _unknown_outcome_repeated),
    Defect("anything gets a substitute", "harsh", _substitute_for_anything, 1),
    Defect("a failed commit is forgotten", "harsh", _failed_commit_forgotten, 8),
    Defect("a constellation ends while a device may act", "harsh", _ended_while_it_may_act, 95),
    Defect("an attempt is lost too soon", "harsh", _lost_too_soon, 150),
    Defect("an edit of any revision is made", "planner", _wrong_revision_accepted, 146),
    Defect("the end of the log is not replayed", "harsh", _tail_not_replayed),
    Defect("deadlines are slept through", "harsh", _clock_in_the_way, 5),
)
