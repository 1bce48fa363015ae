"""The policies of placement, by name."""

from collections.abc import Callable
from typing import Literal

from .fastest_start import FastestStart
from .heft import Heft
from .least_loaded import LeastLoaded
from .policy import Policy
from .round_robin import RoundRobin

DEFAULT: Literal["heft"] = "heft"
POLICIES: dict[str, Callable[[], Policy]] = {
    Heft.name: Heft,
    FastestStart.name: FastestStart,
    LeastLoaded.name: LeastLoaded,
    RoundRobin.name: RoundRobin,
}
