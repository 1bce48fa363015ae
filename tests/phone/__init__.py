"""A phone for tests: the true wire protocol of ADB, and behind it a real touch page in Chromium."""

from .stand import Phone as Phone
from .stand import phone as phone
