"""What expressions say of results, as events: whether a line's condition holds, whether a lost effect happened."""

from collections.abc import Iterator

from .condition import judged
from .constellation import Constellation
from .events import EffectJudged, LineJudged
from .states import READY


def lines(constellation: Constellation, at: float) -> Iterator[LineJudged]:
    """Judge the conditions of all lines that can be judged now."""
    for source, target in list(constellation.questions):
        line = constellation.into[target][source]
        met, error = judged(line.condition, constellation.result_of(source))
        yield LineJudged(at=at, constellation=constellation.id, source=source, target=target, met=met, error=error)


def proof(constellation: Constellation, star_id: str, at: float) -> Iterator[EffectJudged]:
    """Judge what a star's verification found, unless the star was cancelled or skipped meanwhile."""
    course = constellation.courses[star_id]
    if course.state is READY and course.proof is not None:
        assert course.star.verify, "a star that is being verified is not rewritten"
        happened, error = judged(course.star.verify.happened, course.proof)
        number = len(course.attempts)
        yield EffectJudged(
            at=at, constellation=constellation.id, star=star_id, attempt=number, happened=happened, error=error
        )
