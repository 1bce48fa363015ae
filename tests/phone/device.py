"""What the phone is besides its screen: its state, as tests set it, and the dumps that tell of it.

The dumps have the words of Android's own, as far as somebody reads them here.
"""

from dataclasses import dataclass, field

PROPERTIES = {
    "ro.product.manufacturer": "Galaxy",
    "ro.product.model": "Pixel 7",
    "ro.product.name": "panther",
    "ro.product.device": "panther",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.serialno": "GALAXYTEST",
}


@dataclass
class Notification:
    """One line in the drawer."""

    package: str
    title: str
    text: str


@dataclass
class State:
    """What tests may set."""

    locked: bool = False
    awake: bool = True
    accessible: bool = True
    stalled: bool = False  # whether every program waits for ever
    charging: bool = True
    level: int = 85
    metered: bool = False
    tree: str | None = None  # what uiautomator tells in place of the page
    notifications: list[Notification] = field(default_factory=list)
    installed: list[str] = field(default_factory=list)


def battery(state: State) -> str:
    return f"""\
Current Battery Service state:
  AC powered: false
  USB powered: {str(state.charging).lower()}
  Wireless powered: false
  Max charging current: 500000
  status: {2 if state.charging else 3}
  health: 2
  present: true
  level: {state.level}
  scale: 100
  voltage: 4123
  temperature: 251
  technology: Li-ion
"""


def notifications(state: State) -> str:
    records = "".join(
        f"""\
    NotificationRecord(0x0{number:07x}: pkg={each.package} user=UserHandle{{0}} id={number} tag=null importance=3 key=0|{each.package}|{number}|null|10100: Notification(channel=main shortcut=null contentView=null vibrate=null sound=null defaults=0x0 flags=0x10 color=0x00000000 vis=PRIVATE))
      uid=10100 userId=0
      extras={{
        android.title=String ({each.title})
        android.subText=null
        android.text=String ({each.text})
        android.showWhen=Boolean (true)
      }}
      stats=SingleNotificationStats{{posttimeElapsedMs=1}}
"""  # noqa: E501  # so long are Android's own lines
        for number, each in enumerate(state.notifications)
    )
    return f"Current Notification Manager state:\n  Notification List:\n{records}  \n  mUseAttentionLight=false\n"


def window(state: State, front: str) -> str:
    name = "NotificationShade" if state.locked else f"{front}/{front}.MainActivity"
    shown = str(state.locked).lower()
    return f"""\
WINDOW MANAGER POLICY STATE (dumpsys window policy)
    mAwake={str(state.awake).lower()} mScreenOnEarly=true mScreenOnFully=true
    KeyguardServiceDelegate
      showing={shown}
      inputRestricted={shown}
      occluded=false
      secure=true
WINDOW MANAGER DISPLAY CONTENTS (dumpsys window displays)
  mCurrentFocus=Window{{3f2a1b0 u0 {name}}}
  mFocusedApp=ActivityRecord{{8c1d2e3 u0 {front}/.MainActivity t12}}
"""


def trust(state: State) -> str:
    return f"""\
Trust manager state:
 User "Owner" (id=0, flags=0x4c13) (current): trusted=0, trustManaged=0, deviceLocked={int(state.locked)}, \
strongAuthRequired=0x0
 User "Guest" (id=10, flags=0x14): trusted=0, trustManaged=0, deviceLocked=1, strongAuthRequired=0x1
"""


def power(state: State) -> str:
    return f"POWER MANAGER (dumpsys power)\n\n  mWakefulness={'Awake' if state.awake else 'Asleep'}\n"


def connectivity(state: State) -> str:
    told = "" if state.metered else "NOT_METERED&"
    return f"""\
Active default network: 100

Current Networks:
  NetworkAgentInfo{{network{{100}}  handle{{432902426637}}  ni{{WIFI CONNECTED extra: }} created=2026-01-01 \
nc{{[ Transports: WIFI Capabilities: {told}INTERNET&NOT_RESTRICTED&TRUSTED&VALIDATED ]}}  everValidated}}
"""
