"""The tools of the mobile pack: a phone by ADB."""

from ..base import Tool
from .apps import PhoneInstall, PhoneLaunch, PhoneStop
from .look import PhoneBattery, PhoneNotifications, PhoneOverview, PhoneScreen, PhoneScreenshot
from .settings import MobileSettings
from .touch import PhoneKey, PhoneSwipe, PhoneTap, PhoneType
from .transfer import PhonePull, PhonePush


def tools(settings: MobileSettings) -> tuple[Tool, ...]:
    """Return the pack's tools for a device with these settings."""
    return (
        PhoneOverview(settings),
        PhoneScreenshot(settings),
        PhoneScreen(settings),
        PhoneTap(settings),
        PhoneSwipe(settings),
        PhoneType(settings),
        PhoneKey(settings),
        PhoneLaunch(settings),
        PhoneStop(settings),
        PhoneInstall(settings),
        PhonePush(settings),
        PhonePull(settings),
        PhoneNotifications(settings),
        PhoneBattery(settings),
    )
