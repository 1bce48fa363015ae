"""How a phone that hangs on this device is, for the vitals that the device tells."""

from protocol.vocabulary import Vitals

from ...errors import ToolFailed
from ..blocking import Stop
from .dumps import battery, glance, metered
from .line import Line
from .settings import MobileSettings


def phone_vitals(settings: MobileSettings) -> Vitals | None:
    """Return battery, charging, metered and locked of the phone; None where it tells nothing. It blocks."""

    def read(line: Line) -> Vitals:
        power, seen = battery(line), glance(line)
        return Vitals(battery=round(power.level, 3), charging=power.charging, metered=metered(line), locked=seen.locked)

    try:
        return Line(settings).used(read, Stop())
    except ToolFailed:
        return None
