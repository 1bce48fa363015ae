"""The planner that needs no model: rules for stars that have failed. It is asked before any other.

elsewhere    another device can do it, and the call may be repeated there
look         a star that asks the device why; then the failed one is tried once more
fallback     the call that the star declares for this case

It keeps nothing. What it did before is seen in the view: where a star was tried, and which stars stand before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from protocol.vocabulary import Effect, Failure

from ..core.binding import bindings_in
from ..core.edit import AddLine, AddStar, AnyOperation, Edit, Retry, Supersede, UpdateStar
from ..core.goal import Answer, Fact, FactKind
from ..core.retry import REPEATABLE
from ..core.star import INSTRUCT, Line, Star, When
from ..core.states import NOT_STARTED
from .contract import DeviceView, Meter, NoAnswer, StarView, View
from .repair_look import NOT_BEGUN, explains, is_hopeless, is_look_at, look_at

ID_CHARS_MAX = 80

NEVER_REPAIRED = frozenset({"approval_denied", "approval_expired", "outcome_unknown", "result_undelivered"})
# Such a failure is of the device or of its absence, whatever it says of trying again.
OF_THE_DEVICE = frozenset({"device_lost", "queue_timeout"})
CERTAINLY_NOT_BEGUN = frozenset({"not_started", "rejected"})  # codes of failures, and how leases end


@dataclass(frozen=True, slots=True)
class Repaired:
    """What the rules make of some facts: the operations, the facts that need nobody else, and why."""

    operations: tuple[AnyOperation, ...]
    covered: tuple[Fact, ...]
    reason: str


class Repair:
    """Applies the rules."""

    async def plan(self, view: View, meter: Meter) -> Edit:
        raise NoAnswer("rules mend what has failed; they make no plan from a goal")

    async def revise(self, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
        repaired = self.repair(view, facts)
        if not repaired.covered:
            raise NoAnswer("no rule fits what has failed")
        return Edit(repaired.operations, repaired.reason)

    def repair(self, view: View, facts: Sequence[Fact]) -> Repaired:
        """Return what the rules do about the facts; those that are not covered are for the next planner."""
        names = _Names(set(view.stars))
        mended: dict[tuple[FactKind, str], _Mended | None] = {}
        for fact in facts:
            if (fact.kind, fact.star) not in mended:
                mended[fact.kind, fact.star] = _mended(view, fact, names)
        found = [each for each in mended.values() if each]
        return Repaired(
            tuple(operation for each in found for operation in each.operations),
            tuple(fact for fact in facts if mended[fact.kind, fact.star]),
            "; ".join(each.reason for each in found),
        )


@dataclass(frozen=True, slots=True)
class _Mended:
    """What one rule does about one fact."""

    operations: tuple[AnyOperation, ...]
    reason: str


@dataclass(slots=True)
class _Names:
    """Names for new stars, none of them twice."""

    taken: set[str] = field(default_factory=set)

    def new(self, stem: str, ending: str) -> str:
        count = 1
        while True:
            tail = ending if count == 1 else f"{ending}{count}"
            name = stem[: ID_CHARS_MAX - len(tail)] + tail
            if name not in self.taken:
                self.taken.add(name)
                return name
            count += 1


def _mended(view: View, fact: Fact, names: _Names) -> _Mended | None:
    seen = view.stars.get(fact.star)
    if seen is None:
        return None
    if fact.kind is FactKind.SUCCEEDED:
        return _after_look(view, seen)
    failure = seen.failure
    if fact.kind is not FactKind.FAILED or not seen.failure_held or not failure or failure.code in NEVER_REPAIRED:
        return None
    return (
        _elsewhere(view, seen, failure)
        or _with_a_look(view, seen, failure, names)
        or _by_fallback(view, seen, failure, names)
    )


# The rules.


def _elsewhere(view: View, seen: StarView, failure: Failure) -> _Mended | None:
    star = seen.star
    if star.needs.device or not (failure.retryable or failure.code in OF_THE_DEVICE):
        return None
    begun = not (_ends(seen, failure) & (CERTAINLY_NOT_BEGUN | {"queue_timeout"}))
    if begun and not _is_repeatable(view, star):
        return None
    tried = {attempt.device for attempt in seen.tries}
    others = [device.id for device in view.fleet.devices if device.id not in tried and _can_do(view, device, star)]
    reason = f"elsewhere: {_failed(seen, failure)}"
    # One that waited in vain was tried nowhere: its second wait would not be told from its third.
    waited = failure.code == "queue_timeout" and any(reason in patch for patch in view.patches)
    if not others or waited:
        return None
    return _Mended((Retry(star.id),), f"{reason} ({failure.message[:200]}); {', '.join(others[:5])} can try it")


def _with_a_look(view: View, seen: StarView, failure: Failure, names: _Names) -> _Mended | None:
    star = seen.star
    place = _device(view, seen.tries[-1].device if seen.tries else seen.device)
    if place is None or not explains(star, failure) or any(is_look_at(line, star.id) for line in seen.sources):
        return None
    not_begun = _ends(seen, failure) & (CERTAINLY_NOT_BEGUN | NOT_BEGUN)
    if not (not_begun or _is_repeatable(view, star)):
        return None
    look = look_at(view, seen, failure, place.id)
    if look is None or not _can_do(view, place, look):
        return None
    look = msgspec.structs.replace(look, id=names.new(star.id, "-look"))
    operations = (AddStar(look), AddLine(Line(look.id, star.id, When.ALWAYS)))
    return _Mended(operations, f"look: {_told(seen, failure)}; {look.tool} there first, then once more")


def _by_fallback(view: View, seen: StarView, failure: Failure, names: _Names) -> _Mended | None:
    star = _with_fallback(view, seen.star)
    if star is None:
        return None
    star = msgspec.structs.replace(star, id=names.new(seen.star.id.partition("~")[0], "~fallback"))
    reason = f"fallback: {_told(seen, failure)}; {star.tool} in its place, as the star declares"
    return _Mended((Supersede(seen.star.id, star),), reason)


def _after_look(view: View, look: StarView) -> _Mended | None:
    """Return what follows from a look that has found something."""
    seen = next((s for s in view.stars.values() if any(_leads(line, look, s) for line in s.sources)), None)
    if seen is None:
        return None
    failure = seen.failure
    if failure is None or seen.state not in NOT_STARTED or not is_hopeless(look, seen.star, failure):
        return _Mended((), f"look: {look.star.id} has found nothing against trying {seen.star.id} once more")
    star = _with_fallback(view, seen.star)
    if star is None:
        return None
    reason = f"fallback: {_told(seen, failure)}; {look.star.id} found that to stay, so {star.tool} in its place"
    return _Mended((UpdateStar(star),), reason)


# What the rules look at.


def _with_fallback(view: View, star: Star) -> Star | None:
    """Return the star with the call that it declares for this case, if somebody granted could do that."""
    fallback = star.fallback
    if fallback is None or not _is_granted(view, fallback.tool):
        return None
    having = [device for device in view.fleet.devices if fallback.tool in _tools(device)]
    bindings = bindings_in(msgspec.json.decode(fallback.arguments))
    if not having or any(binding.source not in view.stars for binding in bindings):
        return None
    needs = star.needs
    if needs.device and needs.device not in {device.id for device in having}:
        needs = msgspec.structs.replace(needs, device="")
    return msgspec.structs.replace(
        star,
        tool=fallback.tool,
        arguments=fallback.arguments,
        bindings=bindings,
        needs=needs,
        fallback=None,
        effects=None,  # these were said of the other call
        verify=None,
        instruction=star.instruction if fallback.tool == INSTRUCT else None,
    )


def _can_do(view: View, device: DeviceView, star: Star) -> bool:
    """Whether placement could give the device the star now, but for its slots."""
    allowed = not view.grant.devices or device.id in view.grant.devices
    here = device.presence == "connected" and not device.draining
    labelled = all(device.labels.get(key) == value for key, value in star.needs.labels.items())
    tools = {star.tool, *star.needs.tools}
    return allowed and here and labelled and tools <= _tools(device) and all(_is_granted(view, tool) for tool in tools)


def _is_granted(view: View, tool: str) -> bool:
    return not view.grant.tools or tool in view.grant.tools


def _is_repeatable(view: View, star: Star) -> bool:
    """Whether the call may be made again: where devices differ about its effect, all must say so."""
    if star.effects is not None:
        return star.effects in REPEATABLE
    effects = set(_effects(view, star.tool))
    return bool(effects) and effects <= REPEATABLE


def _effects(view: View, tool: str) -> Iterator[Effect]:
    return (spec.effect for device in view.fleet.devices for spec in device.tools if spec.name == tool)


def _ends(seen: StarView, failure: Failure) -> set[str]:
    """Return the words that say how the last attempt ended."""
    return {failure.code, *(attempt.outcome for attempt in seen.tries[-1:])}


def _device(view: View, device_id: str) -> DeviceView | None:
    return next((device for device in view.fleet.devices if device.id == device_id), None)


def _tools(device: DeviceView) -> set[str]:
    return {spec.name for spec in device.tools}


def _leads(line: Line, look: StarView, seen: StarView) -> bool:
    return line.source == look.star.id and is_look_at(line, seen.star.id)


def _failed(seen: StarView, failure: Failure) -> str:
    where = seen.tries[-1].device if seen.tries else seen.device
    return f"{seen.star.id} failed{f' on {where}' if where else ''} with {failure.code}"


def _told(seen: StarView, failure: Failure) -> str:
    return f"{_failed(seen, failure)} ({failure.message[:200]})"
