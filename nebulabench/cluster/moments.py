"""When a fault strikes: how a run is brought to exactly that point, by marks that tools leave and frames that are held.

`arranged` takes its time and leaves the run just short of the moment; `reached` returns at the moment, with what makes
it so kept back on the wire. Nothing here waits for a time to pass.
"""

from enum import StrEnum

from .processes import until
from .proxy import DOWN, UP
from .story import BESIDE, Story

WITHIN_S = 20.0
UPLOADED_BYTES = 100_000  # of each upload, before it is kept back


class Moment(StrEnum):
    """A point in the life of an attempt."""

    ON_THE_WAY = "on-the-way"  # given to the device, which has not heard of it
    BEFORE_ACCEPT = "before-accept"  # the device has begun it, and the node does not know
    AFTER_ACCEPT = "after-accept"  # the node knows; nothing has happened yet
    MID_EFFECT = "mid-effect"  # it has happened, and the call goes on
    BEFORE_REPORT = "before-report"  # the call has ended, and the node does not know
    ACK_LOST = "ack-lost"  # the node knows, and the device does not know that
    DURING_CONSULT = "during-consult"  # the planner thinks about one star while another is in the middle
    DURING_UPLOAD = "during-upload"  # the call has ended, and what it made is on its way


async def arranged(moment: Moment, story: Story) -> None:
    """Return when the run stands just short of the moment."""
    story.asks, story.uploads = moment is Moment.DURING_CONSULT, moment is Moment.DURING_UPLOAD
    if moment in (Moment.ON_THE_WAY, Moment.BEFORE_ACCEPT):
        return
    await story.submit()
    await until(lambda: story.heard("star_accepted", *BESIDE), "all are accepted", WITHIN_S)
    await until(lambda: story.has("begun", *BESIDE), "all have begun", WITHIN_S)
    if moment is Moment.AFTER_ACCEPT:
        return
    story.open("go", *BESIDE)
    await until(lambda: story.has("happened", *BESIDE), "all have happened", WITHIN_S)
    if moment is Moment.DURING_CONSULT:
        story.open("end", "sure")
        await until(story.question, "the planner is asked", WITHIN_S)


async def reached(moment: Moment, story: Story) -> None:
    """Return at the moment."""
    proxy, all_three = story.device.proxy, len(BESIDE)
    match moment:
        case Moment.ON_THE_WAY:
            hold = proxy.hold(DOWN, "assign")
            await story.submit()
            await until(lambda: hold.said >= all_three, "the attempts are on the way", WITHIN_S)
        case Moment.BEFORE_ACCEPT:
            hold = proxy.hold(UP, "accept")
            await story.submit()
            await until(lambda: hold.said >= all_three and story.has("begun", *BESIDE), "all have begun", WITHIN_S)
        case Moment.BEFORE_REPORT:
            hold = proxy.hold(UP, "report")
            story.open("end", *BESIDE)
            await until(lambda: hold.said >= all_three, "the reports are on the way", WITHIN_S)
        case Moment.ACK_LOST:
            proxy.hold(DOWN)
            story.open("end", *BESIDE)
            await until(lambda: story.heard("star_reported", *BESIDE), "the reports are recorded", WITHIN_S)
        case Moment.DURING_UPLOAD:
            hold = proxy.hold(UP, uploads_after=UPLOADED_BYTES)
            story.open("end", *BESIDE)
            await until(lambda: hold.caught >= all_three, "the uploads are under way", WITHIN_S)
        case Moment.AFTER_ACCEPT | Moment.MID_EFFECT | Moment.DURING_CONSULT:
            pass


def let_on(story: Story) -> None:
    """Open every gate: what runs, and what will be begun anew, goes on to its end."""
    everything = (*BESIDE, "behind", "more")
    story.open("go", *everything)
    story.open("end", *everything)
