"""What a device says becomes an event, under the name that its session proved."""

import re

from protocol.errors import RemoteProtocolError
from protocol.messages import (
    Accept,
    AnyMessage,
    Drain,
    Profiled,
    Progress,
    Reject,
    Report,
    Sleep,
    Stopping,
    VitalsTold,
)
from protocol.vocabulary import NOTHING, RESULT_INLINE_BYTES_MAX, ByeCode, Failure, Outcome

from .core.attempt import AttemptId, LeaseEnd
from .core.events import (
    DeviceAsleep,
    DeviceDraining,
    DeviceProfiled,
    DeviceVitals,
    Event,
    LeaseEnded,
    StarAccepted,
    StarProgressed,
    StarReported,
    StopBegun,
)

ATTEMPT_NUMBER_MAX = 1_000_000_000
RESULT_DEPTH_MAX = 200  # levels; readers, and those who take it over into arguments, give up at some hundreds more
STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
BRACKETS = re.compile(rb"[][{}]")


def event_of(message: AnyMessage, device: str, now: float) -> Event | None:
    """Return the event, or None where there is none; raise RemoteProtocolError for what makes no sense."""
    match message:
        case Report():
            return _reported(message, device, now)
        case Accept():
            c, s, n = attempt_of(message.attempt)
            return StarAccepted(at=now, constellation=c, star=s, attempt=n, device=device)
        case Stopping():
            c, s, n = attempt_of(message.attempt)
            return StopBegun(at=now, constellation=c, star=s, attempt=n, device=device)
        case Progress():
            c, s, n = attempt_of(message.attempt)
            note = message.note[:2000]
            return StarProgressed(
                at=now, constellation=c, star=s, attempt=n, device=device, note=note, fraction=message.fraction
            )
        case Reject():
            c, s, n = attempt_of(message.attempt)
            cause = LeaseEnd.REJECTED
            return LeaseEnded(
                at=now, constellation=c, star=s, attempt=n, device=device, cause=cause, failure=message.failure
            )
        case Sleep():
            until = now + max(0.0, message.for_s)
            return DeviceAsleep(at=now, device=device, until=until, reason=message.reason[:500])
        case Profiled():
            return DeviceProfiled(at=now, device=device, profile=message.profile)
        case VitalsTold():
            return DeviceVitals(at=now, device=device, vitals=message.vitals)
        case Drain():
            return DeviceDraining(at=now, device=device, reason=message.reason[:500], by=f"device {device}")
    return None


def _reported(message: Report, device: str, now: float) -> StarReported:
    constellation, star, number = attempt_of(message.attempt)
    outcome, result, failure = message.outcome, message.result, message.failure
    if unfit := _unfit(bytes(result)):
        outcome, result, failure = Outcome.FAILED, NOTHING, unfit
    return StarReported(
        at=now,
        constellation=constellation,
        star=star,
        attempt=number,
        device=device,
        outcome=outcome,
        result=result.copy(),  # its bytes are a window on the frame, which need not outlive it
        failure=failure,
        ran_s=max(0.0, message.ran_s),
    )


def attempt_of(attempt: str) -> AttemptId:
    """Return the attempt that a device names; raise RemoteProtocolError for what names none."""
    try:
        parsed = AttemptId.parse(attempt)
    except ValueError as exc:
        raise RemoteProtocolError(ByeCode.MALFORMED, str(exc)[:200]) from exc
    if str(parsed) != attempt or not 0 < parsed.number <= ATTEMPT_NUMBER_MAX:
        raise RemoteProtocolError(ByeCode.MALFORMED, f"{attempt[:200]!r} is not an attempt's id")
    return parsed


def _unfit(result: bytes) -> Failure | None:
    """Return why a result cannot be kept, or None. Only one with many brackets is looked at closely."""
    if len(result) > RESULT_INLINE_BYTES_MAX:
        text = f"a result of over {RESULT_INLINE_BYTES_MAX} bytes must travel as an artifact"
        return Failure("result_too_large", text)
    if result.count(b"[") + result.count(b"{") > RESULT_DEPTH_MAX and _depth(result) > RESULT_DEPTH_MAX:
        return Failure("result_too_deep", f"a result of over {RESULT_DEPTH_MAX} levels")
    return None


def _depth(result: bytes) -> int:
    depth = deepest = 0
    for bracket in BRACKETS.findall(STRINGS.sub(b"", result)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
