"""One frozen class per sentence; the fields are the whole contract.

An attempt is named by its id, `constellation/star#number`; the number is the fencing token.
Times are seconds. `sent_at` is a reading of the device's own monotonic clock, returned to it untouched.
"""

from msgspec import Raw, Struct

from .vocabulary import NOTHING, ByeCode, Effect, Failure, Held, Outcome, Profile, Verdict, Vitals


class Message(Struct, frozen=True, omit_defaults=True, tag_field="type", tag=str.lower):
    """Anything that may stand in a frame."""


# The greeting: not numbered, said anew on each socket.


class Challenge(Message, frozen=True):
    """Galaxy opens: prove that you are who you say, for this galaxy and this socket."""

    galaxy: str
    nonce: str
    version_min: int
    version_max: int


class Hello(Message, frozen=True):
    """The device answers with its signature over `codec.proof_of(...)`, and what it is and holds."""

    device: str
    signature: str  # base64 of the Ed25519 signature
    version: int
    boot: str  # changes with each start of the agent
    profile: Profile
    session: str = ""  # the session to resume
    heard: int = 0  # number of the last message taken in that session
    held: tuple[Held, ...] = ()
    journal: str = ""  # names the device's record of begun calls: another one knows nothing of those before


class Welcome(Message, frozen=True):
    """Galaxy accepts; from here both sides speak in numbered messages."""

    session: str
    resumed: bool
    heard: int  # number of the device's last message that Galaxy has taken in this session
    heartbeat_s: float
    credits: int  # numbered messages that either side may have unacknowledged
    artifact_token: str  # bearer for /v1/artifacts, valid while the session is


# Signs of life: not numbered.


class Renew(Message, frozen=True):
    """The device lives, and so do its leases."""

    sent_at: float


class Renewed(Message, frozen=True):
    """Galaxy has heard the renewal that the device sent at `sent_at`. `heartbeat_s`, unless 0, replaces Welcome's."""

    sent_at: float
    heartbeat_s: float = 0.0


class Bye(Message, frozen=True):
    """The last word on a socket. `terminal`: do not dial again."""

    code: ByeCode
    message: str
    terminal: bool = False
    retry_after_s: float = 0.0


# Work: numbered, acknowledged, replayed after a reconnect.


class Assign(Message, frozen=True):
    """Galaxy gives the device one attempt at a star."""

    attempt: str
    tool: str
    arguments: Raw
    effect: Effect
    run_s: float
    idle_s: float = 0.0  # 0: no limit
    stop_after_s: float = 0.0  # without an answered renewal for so long, stop it; 0: never


class Accept(Message, frozen=True):
    """The attempt runs. Left out when its report follows at once."""

    attempt: str


class Reject(Message, frozen=True):
    """The attempt was not started here and never will be."""

    attempt: str
    failure: Failure


class Stopping(Message, frozen=True):
    """A revoked attempt is being stopped; its report tells how that went."""

    attempt: str


class Progress(Message, frozen=True):
    """How far an attempt is, in words and, where known, as a fraction of 1."""

    attempt: str
    note: str
    fraction: float | None = None


class Report(Message, frozen=True):
    """The end of an attempt. `result` is any JSON value; `failure` stands where it did not succeed."""

    attempt: str
    outcome: Outcome
    result: Raw = NOTHING
    failure: Failure | None = None
    ran_s: float = 0.0


class Revoke(Message, frozen=True):
    """Stop the attempt and report how it ended. One that is not held is not answered.

    A call that has not ended `grace_s` after it was told to is killed.
    """

    attempt: str
    reason: str
    grace_s: float = 10.0


class Reconcile(Message, frozen=True):
    """What becomes of one attempt that the device named as held in its Hello."""

    attempt: str
    verdict: Verdict
    reason: str


class Profiled(Message, frozen=True):
    """The device's tools, labels or slots have changed."""

    profile: Profile


class VitalsTold(Message, frozen=True):
    """How the device is just now. What it said of that before does not count any more."""

    vitals: Vitals


class Sleep(Message, frozen=True):
    """The device is about to sleep and expects to be back in `for_s`; until then its silence means nothing."""

    for_s: float
    reason: str = ""


class Drain(Message, frozen=True):
    """No new work on this device; what runs may finish. Either side may say so."""

    reason: str


CONTROL = (Challenge, Hello, Welcome, Renew, Renewed, Bye)
NUMBERED = (Assign, Accept, Reject, Stopping, Progress, Report, Revoke, Reconcile, Profiled, VitalsTold, Sleep, Drain)

AnyMessage = (
    Challenge
    | Hello
    | Welcome
    | Renew
    | Renewed
    | Bye
    | Assign
    | Accept
    | Reject
    | Stopping
    | Progress
    | Report
    | Revoke
    | Reconcile
    | Profiled
    | VitalsTold
    | Sleep
    | Drain
)
