"""The fleet: which devices exist, which are here, and what each offers.

Beside them: the tokens that let new ones join, and the rules by which people approve calls in advance.
"""

from enum import StrEnum

from msgspec import Struct

from protocol.vocabulary import Profile, ToolSpec, Vitals

from .errors import Conflict, UnknownId
from .events import (
    DeviceAsleep,
    DeviceConnected,
    DeviceDisconnected,
    DeviceDraining,
    DeviceJoined,
    DeviceLost,
    DeviceProfiled,
    DeviceRevoked,
    DeviceSuspected,
    DeviceTrusted,
    DeviceVitals,
    Event,
    JoinTokenMinted,
    NodeStarted,
    OfConnected,
    OfDevice,
    RuleEnded,
    RuleMade,
)
from .rules import Rule

JOIN_TOKENS_MAX = 1_000
RULES_MAX = 1_000
RESTART_GRACE_S = 120.0  # after a start of the node, for every device: all of them dial at once
LOST_AFTER_S = 900.0
SLEEP_MAX_S = 7 * 24 * 3600.0


class Presence(StrEnum):
    """Whether a device can be reached."""

    JOINED = "joined"  # has a key, has never connected
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"  # may come back
    ASLEEP = "asleep"  # has said when it comes back
    LOST = "lost"  # gone for so long that nobody counts on it
    REVOKED = "revoked"  # may not


class Device(Struct, omit_defaults=True):
    """One device. `held` and `tools` are indexes, not part of what is recorded."""

    id: str
    public_key: str
    joined_at: float
    presence: Presence = Presence.JOINED
    since: float = 0.0  # of the presence
    boot: str = ""
    profile: Profile | None = None
    draining: str = ""  # why it gets no new work
    reason: str = ""  # of the presence
    suspected: str = ""  # why it gets no new work, though it is connected
    suspected_at: float | None = None
    wakes_at: float | None = None  # when it said that it would be back
    grace_s: float = 0.0  # by which its absence counts later than it began
    journal: str = ""  # names its record of begun calls
    vitals: Vitals = Vitals()
    forgot: bool = False  # it came back with another one

    @property
    def slots(self) -> int:
        return self.profile.slots if self.profile else 0


class JoinToken(Struct):
    """Lets one device join. Only the digest of the token's text is known."""

    digest: str
    expires_at: float


class Fleet(Struct):
    """A function of the stream `~fleet`."""

    devices: dict[str, Device] = {}
    tokens: dict[str, JoinToken] = {}
    rules: dict[str, Rule] = {}

    def device(self, device_id: str) -> Device:
        """Return the device; raise UnknownId."""
        try:
            return self.devices[device_id]
        except KeyError:
            raise UnknownId("device", device_id) from None

    def lost_at(self, device_id: str) -> float | None:
        """Return when nobody counts on a device that is gone any more."""
        device = self.devices[device_id]
        if device.presence not in (Presence.UNREACHABLE, Presence.ASLEEP):
            return None
        return device.since + device.grace_s + LOST_AFTER_S

    def check(self, event: Event) -> None:
        """Raise Refused, or promise that `apply` will do."""
        match event:
            case JoinTokenMinted() if len(self.tokens) >= JOIN_TOKENS_MAX:
                if not any(token.expires_at <= event.at for token in self.tokens.values()):
                    raise Conflict(f"{JOIN_TOKENS_MAX} join tokens are unused; let some expire first")
            case DeviceJoined():
                self._check_joining(event)
            case OfConnected(device=device_id):
                if self.device(device_id).presence is not Presence.CONNECTED:
                    raise Conflict(f"device {device_id} is not connected")
            case OfDevice(device=device_id):
                if self.device(device_id).presence is Presence.REVOKED:
                    raise Conflict(f"device {device_id} is revoked")
            case RuleMade():
                if event.rule in self.rules:
                    raise Conflict(f"rule {event.rule} exists already")
                if sum(rule.expires_at > event.at for rule in self.rules.values()) >= RULES_MAX:
                    raise Conflict(f"there are {RULES_MAX} rules; end some first")
            case RuleEnded(rule=rule_id) if rule_id not in self.rules:
                raise UnknownId("rule", rule_id)

    def apply(self, event: Event) -> None:
        """Change the state as the event says; it was checked."""
        match event:
            case NodeStarted():
                for device in self.devices.values():
                    _node_started(device, event.at)
            case JoinTokenMinted():
                self.tokens = {d: t for d, t in self.tokens.items() if t.expires_at > event.at}
                self.tokens[event.digest] = JoinToken(event.digest, event.expires_at)
            case DeviceJoined():
                del self.tokens[event.token_digest]
                self.devices[event.device] = Device(event.device, event.public_key, event.at, since=event.at)
            case OfDevice():
                _happened(self.devices[event.device], event)
            case RuleMade():
                self.rules = {rule_id: rule for rule_id, rule in self.rules.items() if rule.expires_at > event.at}
                self.rules[event.rule] = Rule(
                    event.rule, event.tool, event.pattern, event.device, event.at, event.expires_at, event.by
                )
            case RuleEnded():
                del self.rules[event.rule]

    def tools(self, device_id: str) -> dict[str, ToolSpec]:
        """Return what the device says of its tools, by name."""
        profile = self.devices[device_id].profile
        return {tool.name: tool for tool in profile.tools} if profile else {}

    def _check_joining(self, event: DeviceJoined) -> None:
        token = self.tokens.get(event.token_digest)
        if token is None or token.expires_at <= event.at:
            raise Conflict("the join token is unknown, used or expired; make a new one")
        device = self.devices.get(event.device)
        if device and device.presence is not Presence.REVOKED:
            raise Conflict(f"a device named {event.device!r} exists; revoke it or choose another name")


def _happened(device: Device, event: OfDevice) -> None:
    match event:
        case DeviceConnected():
            if event.boot != device.boot:
                device.draining = ""  # a person drained the agent that was; a new start is a new beginning
            device.forgot = bool(device.journal and event.journal and event.journal != device.journal)
            device.boot, device.profile, device.journal = event.boot, event.profile, event.journal or device.journal
            device.suspected, device.suspected_at = "", None
            device.wakes_at, device.grace_s = None, 0.0
            _move(device, Presence.CONNECTED, event.at, "")
        case DeviceProfiled():
            device.profile = event.profile
        case DeviceVitals():
            device.vitals = event.vitals
        case DeviceDisconnected():
            _gone(device, event.at, event.reason)
        case DeviceSuspected():
            device.suspected, device.suspected_at = event.reason, event.at
        case DeviceTrusted():
            device.suspected, device.suspected_at = "", None
        case DeviceAsleep():
            device.wakes_at = min(event.until, event.at + SLEEP_MAX_S)
        case DeviceLost():
            _move(device, Presence.LOST, event.at, event.reason)
        case DeviceDraining():
            device.draining = event.reason or "draining"
        case DeviceRevoked():
            _move(device, Presence.REVOKED, event.at, event.reason)


def _node_started(device: Device, at: float) -> None:
    if device.presence is Presence.CONNECTED:
        _gone(device, at, "the node was restarted")
    if device.presence in (Presence.UNREACHABLE, Presence.ASLEEP):
        # Nobody could come back while the node was down.
        device.grace_s = max(device.grace_s, at + RESTART_GRACE_S - device.since)


def _gone(device: Device, at: float, reason: str) -> None:
    wakes_at = device.wakes_at
    device.suspected, device.suspected_at = "", None
    if wakes_at is not None and wakes_at > at:
        device.grace_s = wakes_at - at
        _move(device, Presence.ASLEEP, at, reason)
    else:
        device.grace_s = 0.0
        _move(device, Presence.UNREACHABLE, at, reason)


def _move(device: Device, presence: Presence, at: float, reason: str) -> None:
    device.presence, device.since, device.reason = presence, at, reason
