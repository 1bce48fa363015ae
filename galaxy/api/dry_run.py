"""What an edit would do, as the API tells it: refused as the edit itself would be, and nothing is recorded."""

from ..core.constellation import Constellation
from ..core.events import ConstellationEdited
from ..views.forecast import foreseen
from ..views.revisions import Picture
from .parts import Parts


def dry_run(node: Parts, found: Constellation, event: ConstellationEdited) -> Picture:
    """Return what would change, how long the rest would take before and after, and where new stars could go.

    Raise Refused as the edit itself would be.
    """
    return foreseen(node.runner.core, found, event)
