"""The cells: each fault at each moment, but for those that make no sense."""

from dataclasses import dataclass

from .faults import FAULTS, Fault
from .moments import Moment

# Fault and moment -> why there is no such cell.
LEFT_OUT: dict[tuple[str, Moment], str] = {
    ("agent-disk-full", Moment.ON_THE_WAY): "the device refuses the work until somebody makes room, as it should",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One fault at one moment."""

    fault: Fault
    moment: Moment

    @property
    def name(self) -> str:
        return f"{self.fault.name}/{self.moment}"

    @property
    def may_waste(self) -> bool:
        """Whether attempts may come to nothing: calls were cut off, or the device has never heard of them."""
        return self.fault.ends_calls or self.moment is Moment.ON_THE_WAY


CELLS = tuple(Cell(fault, moment) for fault in FAULTS for moment in Moment if (fault.name, moment) not in LEFT_OUT)


def named(wanted: str) -> tuple[Cell, ...]:
    """Return the cells of this name, or of this fault, or at this moment; all for an empty name."""
    return tuple(cell for cell in CELLS if wanted in ("", cell.name, cell.fault.name, cell.moment))
