"""What must be true of a history, whatever went wrong. Each judge says one rule, and yields what broke it.

They read plain data: the rows that were recorded, as JSON; what clients were told; what tools did, by the world's own
book. Nothing of the code under test is asked.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .history import Event, History
from .plan import Plan

FLEET = "~fleet"
TOLD_S = 6.0  # within which a device that is back has been told what to stop
SOON_S = 1.0  # within which a device stops once it must; its clock is looked at that often
ENDS = ("star_reported", "lease_ended")
Name = tuple[str, str, int]  # constellation, star, number of the attempt


@dataclass
class Lease:
    """One attempt, as it was recorded."""

    name: Name
    device: str
    effect: str
    purpose: str
    beside: int
    leased_at: float  # when that was durable
    end: Event | None = None

    def __str__(self) -> str:
        return f"{self.name[0]}/{self.name[1]}#{self.name[2]}"


@dataclass
class Case:
    """A history, and what judges look up in it."""

    plan: Plan
    history: History
    leases: dict[Name, Lease] = field(default_factory=dict)
    by_star: dict[tuple[str, str], list[Lease]] = field(default_factory=lambda: defaultdict(list))
    succeeded: set[tuple[str, str]] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)  # while it was read

    def __post_init__(self) -> None:
        for event in self.history.events:
            star = (event["stream"], event.get("star", ""))
            name = (*star, event.get("attempt", 0))
            if event["kind"] == "star_leased":
                if name in self.leases:
                    self.broken.append(f"{star[0]}/{star[1]}#{name[2]} was leased twice")
                lease = Lease(
                    name,
                    event["device"],
                    event["effect"],
                    event.get("purpose", "run"),
                    event.get("beside", 0),
                    event["committed"],
                )
                self.leases[name] = lease
                self.by_star[star].append(lease)
            elif event["kind"] in ENDS:
                self._ended(name, event)
            elif event["kind"] == "effect_judged" and event["happened"]:
                self.succeeded.add(star)

    def _ended(self, name: Name, event: Event) -> None:
        lease = self.leases.get(name)
        if lease is None or lease.device != event["device"]:
            self.broken.append(f"{name} was ended by {event['device']}, held by {lease and lease.device}")
        elif lease.end:
            self.broken.append(f"{lease} ended twice")
        else:
            lease.end = event
            if event.get("outcome") == "succeeded" and lease.purpose == "run":
                self.succeeded.add(name[:2])


def violations(plan: Plan, history: History) -> list[str]:
    """Return what was broken, in words."""
    case = Case(plan, history)
    return [*history.errors, *case.broken, *(told for judge in JUDGES for told in judge(case))]


def _events_are_gap_free(case: Case) -> Iterator[str]:
    """Each stream's events are numbered from one, and were recorded in that order."""
    for stream, events in case.history.by_stream.items():
        numbers = [event["seq"] for event in events]
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"the events of {stream} are numbered {numbers}"


def _revisions_are_linear(case: Case) -> Iterator[str]:
    """Each edit is made against the revision before it, unless it was rebased, and makes one more."""
    for stream, events in case.history.by_stream.items():
        revision = 1
        for event in events:
            if event["kind"] == "constellation_edited":
                base, rebased = event["base"], event.get("rebase", False)
                if base > revision or (base < revision and not rebased):
                    yield f"an edit of {stream} against revision {base} was made at {revision}"
                revision += bool(event["edit"]["operations"])


def _nothing_acknowledged_is_lost(case: Case) -> Iterator[str]:
    """What a client was told is done stands in the record, from before it was told."""
    for told in case.history.told:
        events = case.history.by_stream.get(told.constellation, [])
        if told.kind == "submitted":
            found = [event for event in events if event["kind"] == "constellation_submitted"]
        else:
            found = [event for event in events if event.get("by") == told.by]
        if len(found) != 1 or found[0]["committed"] > told.at:
            times = f"recorded {len(found)} times"
            yield f"{told.kind} of {told.constellation} was acknowledged at {told.at:.3f} and is {times}"


def _no_result_is_dropped(case: Case) -> Iterator[str]:
    """A device forgets a report only when it, or that it came too late, is recorded, or its constellation has ended."""
    recorded: dict[tuple[str, str], float] = {}
    over: dict[str, float] = {}
    for event in case.history.events:
        if event["kind"] == "constellation_ended":
            over[event["stream"]] = event["committed"]
        elif event["kind"] in (*ENDS, "report_refused"):
            name = f"{event['stream']}/{event['star']}#{event['attempt']}"
            recorded.setdefault((event["device"], name), event["committed"])
    never = float("inf")
    for at, device, attempt in case.history.dropped:
        constellation = attempt.partition("/")[0]
        if at < min(recorded.get((device, attempt), never), over.get(constellation, never)):
            yield f"{device} dropped its report of {attempt} at {at:.3f}, before that was recorded"


def _what_may_happen_once_does(case: Case) -> Iterator[str]:
    """A `once` effect happens at most once to a star, and exactly once if it succeeded: a success has happened."""
    times: dict[tuple[str, str], int] = defaultdict(int)
    once: dict[tuple[str, str], int] = defaultdict(int)  # what it did before it was made such a star does not count
    for effect in case.history.effects:
        constellation, _, star = effect.star.partition("/")
        times[constellation, star] += 1
        if effect.effect == "once":
            once[constellation, star] += 1
    for constellation, star in sorted(once):
        if once[constellation, star] > 1:
            yield f"{constellation}/{star} may happen once only and happened {once[constellation, star]} times"
    for constellation, star in sorted(case.succeeded):
        if not times[constellation, star]:
            yield f"{constellation}/{star} succeeded, and nothing happened"


def _attempts_are_fenced(case: Case) -> Iterator[str]:
    """No attempt acts once another was given out in its place; beside it, where that is allowed, both may."""
    for effect in case.history.effects:
        lease = case.leases.get(_name_of(effect.attempt))
        if lease is None:
            yield f"{effect.attempt} acted on {effect.device}, and was never given out"
            continue
        if lease.leased_at > effect.at:
            yield f"{lease} acted at {effect.at:.3f}, before it was durable that {effect.device} may"
        until = _may_act_until(case, lease)
        for later in case.by_star[lease.name[:2]]:
            replaces = later.name[2] > lease.name[2] and later.beside != lease.name[2] and lease.end
            if (
                replaces
                and later.purpose == "run"
                and max(later.leased_at, until) < effect.at
                and effect.effect != "pure"
            ):
                yield f"{lease} acted at {effect.at:.3f}, after {later} was given out at {later.leased_at:.3f}"
                break


def _slots_are_respected(case: Case) -> Iterator[str]:
    """No device holds, or runs, more than it has slots."""
    slots = {one.name: one.slots for one in case.plan.devices}
    held: dict[str, int] = defaultdict(int)
    for event in case.history.events:
        device = event.get("device", "")
        limit = slots.get(device.partition("-")[0], 0)
        if event["kind"] == "star_leased":
            held[device] += 1
            if held[device] > limit:
                yield f"{device} holds {held[device]} at {event['committed']:.3f}, and has {limit} slots"
        elif event["kind"] in ENDS:
            held[device] -= 1


def _no_orphan_keeps_running(case: Case) -> Iterator[str]:
    """A call is over `stop_after_s` after Galaxy was last heard of, and a moment; frozen meanwhile, when thawed."""
    history = case.history
    for run in history.runs:
        stop_after_s = _stop_after_s(case, run.attempt, run.began_at)
        if not stop_after_s:
            continue
        over = history.died.get(run.process)
        ended_at = min(end for end in (run.ended_at, over, history.now()) if end is not None)
        heard = [at for at in history.heard.get(run.device, ()) if at <= ended_at]
        must_end_at = max(run.began_at, heard[-1] if heard else 0.0) + stop_after_s + SOON_S
        for frozen_at, thawed_at in history.asleep.get(run.device, ()):
            if frozen_at <= must_end_at <= thawed_at + SOON_S:
                must_end_at = thawed_at + SOON_S
        if ended_at > must_end_at:
            yield f"{run.attempt} ran on {run.device} until {ended_at:.3f}, {ended_at - must_end_at:.1f} s too long"


def _an_end_is_an_end(case: Case) -> Iterator[str]:
    """When a constellation has ended, nothing of it runs or acts any more."""
    ended = {event["stream"]: event for event in case.history.events if event["kind"] == "constellation_ended"}
    for effect in case.history.effects:
        over = ended.get(effect.star.partition("/")[0])
        if over and effect.at > over["committed"]:
            yield f"{effect.attempt} acted at {effect.at:.3f}, after its constellation had {over['state']}"


def _once_ended_nothing_follows(case: Case) -> Iterator[str]:
    """The end of a constellation is the last that is recorded of it."""
    for stream, events in case.history.by_stream.items():
        kinds = [event["kind"] for event in events]
        if "constellation_ended" in kinds[:-1]:
            yield f"after its end, {stream} goes on with {kinds[kinds.index('constellation_ended') + 1]}"


def _may_act_until(case: Case, lease: Lease) -> float:
    """Return until when a call may act that was given up: one that never stops by itself, until its device is back."""
    if lease.end is None or _stop_after_s(case, str(lease), lease.leased_at):
        return 0.0
    for event in case.history.by_stream.get(FLEET, ()):
        back = event["kind"] == "device_connected" and event["device"] == lease.device
        if back and event["committed"] >= lease.end["committed"]:
            at: float = event["committed"]
            return at + TOLD_S
    return float("inf")


def _name_of(attempt: str) -> Name:
    star, _, number = attempt.rpartition("#")
    constellation, _, star = star.partition("/")
    return constellation, star, int(number)


def _stop_after_s(case: Case, attempt: str, at: float) -> float:
    """Return what the star said when the attempt was given out, as it was last written by then; 0: it never stops."""
    constellation, star, _ = _name_of(attempt)
    stop_after_s = 0.0
    for event in case.history.by_stream.get(constellation, []):
        stars = event.get("stars", []) if event["kind"] == "constellation_submitted" else _edited(event)
        for one in stars:
            if one["id"] == star and event["committed"] <= at:
                policy = one.get("disconnect", {})
                stop_after_s = min(policy.get("stop_after_s", 60.0), policy.get("lost_after_s", 60.0))
    return stop_after_s


def _edited(event: Event) -> list[Event]:
    if event["kind"] != "constellation_edited":
        return []
    return [operation["star"] for operation in event["edit"]["operations"] if "star" in operation]


JUDGES: tuple[Callable[[Case], Iterator[str]], ...] = (
    _events_are_gap_free,
    _revisions_are_linear,
    _nothing_acknowledged_is_lost,
    _no_result_is_dropped,
    _what_may_happen_once_does,
    _attempts_are_fenced,
    _slots_are_respected,
    _no_orphan_keeps_running,
    _an_end_is_an_end,
    _once_ended_nothing_follows,
)
