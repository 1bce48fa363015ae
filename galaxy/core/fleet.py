"""The fleet: which devices exist, which are here, and what each offers.

Beside them: the tokens that let new ones join, and the rules by which people approve calls in advance.
"""

from enum import StrEnum

from msgspec import Struct

from protocol.vocabulary import Profile, ToolSpec

from .errors import Conflict, UnknownId
from .events import (
    DeviceConnected,
    DeviceDisconnected,
    DeviceDraining,
    DeviceJoined,
    DeviceProfiled,
    DeviceRevoked,
    Event,
    JoinTokenMinted,
    NodeStarted,
    RuleEnded,
    RuleMade,
)
from .rules import Rule

JOIN_TOKENS_MAX = 1_000
RULES_MAX = 1_000


class Presence(StrEnum):
    """Whether a device can be reached."""

    JOINED = "joined"  # has a key, has never connected
    CONNECTED = "connected"
    UNREACHABLE = "unreachable"  # may come back
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

    def check(self, event: Event) -> None:
        """Raise Refused, or promise that `apply` will do."""
        match event:
            case JoinTokenMinted() if len(self.tokens) >= JOIN_TOKENS_MAX:
                if not any(token.expires_at <= event.at for token in self.tokens.values()):
                    raise Conflict(f"{JOIN_TOKENS_MAX} join tokens are unused; let some expire first")
            case DeviceJoined():
                token = self.tokens.get(event.token_digest)
                if token is None or token.expires_at <= event.at:
                    raise Conflict("the join token is unknown, used or expired; make a new one")
                device = self.devices.get(event.device)
                if device and device.presence is not Presence.REVOKED:
                    raise Conflict(f"a device named {event.device!r} exists; revoke it or choose another name")
            case DeviceConnected(device=device_id) | DeviceProfiled(device=device_id):
                self._require_not_revoked(device_id)
            case DeviceDisconnected(device=device_id):
                if self.device(device_id).presence is not Presence.CONNECTED:
                    raise Conflict(f"device {device_id} is not connected")
            case DeviceDraining(device=device_id) | DeviceRevoked(device=device_id):
                self._require_not_revoked(device_id)
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
                    if device.presence is Presence.CONNECTED:
                        self._move(device, Presence.UNREACHABLE, event.at, "the node was restarted")
            case JoinTokenMinted():
                self.tokens = {d: t for d, t in self.tokens.items() if t.expires_at > event.at}
                self.tokens[event.digest] = JoinToken(event.digest, event.expires_at)
            case DeviceJoined():
                del self.tokens[event.token_digest]
                self.devices[event.device] = Device(event.device, event.public_key, event.at, since=event.at)
            case DeviceConnected():
                device = self.devices[event.device]
                if event.boot != device.boot:
                    device.draining = ""  # a person drained the agent that was; a new start is a new beginning
                device.boot, device.profile = event.boot, event.profile
                self._move(device, Presence.CONNECTED, event.at, "")
            case DeviceProfiled():
                self.devices[event.device].profile = event.profile
            case DeviceDisconnected():
                self._move(self.devices[event.device], Presence.UNREACHABLE, event.at, event.reason)
            case DeviceDraining():
                self.devices[event.device].draining = event.reason or "draining"
            case DeviceRevoked():
                self._move(self.devices[event.device], Presence.REVOKED, event.at, event.reason)

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

    def _require_not_revoked(self, device_id: str) -> None:
        if self.device(device_id).presence is Presence.REVOKED:
            raise Conflict(f"device {device_id} is revoked")

    def _move(self, device: Device, presence: Presence, at: float, reason: str) -> None:
        device.presence, device.since, device.reason = presence, at, reason
