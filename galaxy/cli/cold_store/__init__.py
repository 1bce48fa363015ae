"""`galaxy demo --full`: a cold store that all four kinds of devices look after, with one of them killed on the way."""

from .show import shown as shown
