"""The cells: each fault at each moment."""

from dataclasses import dataclass

from .faults import FAULTS, Fault
from .moments import Moment


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
        """Whether attempts may come to nothing: calls were cut off, given back, or never heard of."""
        return self.fault.ends_calls or self.fault.refuses_work or self.moment is Moment.ON_THE_WAY


CELLS = tuple(Cell(fault, moment) for fault in FAULTS for moment in Moment)


def named(wanted: str) -> tuple[Cell, ...]:
    """Return the cells of this name, or of this fault, or at this moment; all for an empty name."""
    return tuple(cell for cell in CELLS if wanted in ("", cell.name, cell.fault.name, cell.moment))
