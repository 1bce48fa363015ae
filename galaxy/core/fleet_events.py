"""What happens to devices, and to what lets them take part. It is one stream of its own."""

from msgspec import Raw

from protocol.vocabulary import Held, Profile, Vitals

from .event import Event


class NodeStarted(Event, frozen=True, kw_only=True):
    """No device has a session with this node yet."""


class JoinTokenMinted(Event, frozen=True, kw_only=True):
    digest: str
    expires_at: float
    by: str = ""


class DeviceJoined(Event, frozen=True, kw_only=True):
    device: str
    public_key: str
    token_digest: str


class OfDevice(Event, frozen=True, kw_only=True):
    """Something of one device that has joined and may still take part."""

    device: str


class OfConnected(OfDevice, frozen=True, kw_only=True):
    """Something of one device that is connected."""


class DeviceConnected(OfDevice, frozen=True, kw_only=True):
    """A device proved its key. Unless it resumed its session, `held` is all that it still answers for."""

    boot: str
    profile: Profile
    resumed: bool = False
    held: tuple[Held, ...] = ()
    journal: str = ""  # names the record of begun calls on the device; another one knows nothing of those before


class DeviceProfiled(OfDevice, frozen=True, kw_only=True):
    profile: Profile


class DeviceVitals(OfConnected, frozen=True, kw_only=True):
    """How the device is: what it had said before does not count any more."""

    vitals: Vitals


class DeviceDisconnected(OfConnected, frozen=True, kw_only=True):
    reason: str


class DeviceSuspected(OfConnected, frozen=True, kw_only=True):
    """A connected device has been silent for unlikely long; `phi` is -log10 of how likely it is that it will speak."""

    phi: float
    reason: str


class DeviceTrusted(OfConnected, frozen=True, kw_only=True):
    """A suspected device has spoken."""


class DeviceAsleep(OfConnected, frozen=True, kw_only=True):
    """The device said that it goes to sleep, and when it means to be back."""

    until: float
    reason: str = ""


class DeviceLost(OfDevice, frozen=True, kw_only=True):
    """The device has been gone for so long that nobody counts on it."""

    reason: str


class DeviceDraining(OfDevice, frozen=True, kw_only=True):
    reason: str
    by: str = ""


class DeviceRevoked(OfDevice, frozen=True, kw_only=True):
    reason: str
    by: str = ""


class RuleMade(Event, frozen=True, kw_only=True):
    """A person approves calls like these in advance, until then."""

    rule: str
    tool: str
    pattern: Raw  # JSON: what the arguments must look like; in a text, * stands for any characters
    device: str = ""  # empty: any
    expires_at: float
    by: str


class RuleEnded(Event, frozen=True, kw_only=True):
    rule: str
    by: str = ""
