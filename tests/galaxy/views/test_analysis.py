"""What is said of a whole constellation."""

from galaxy.core.attempt import Attempt
from galaxy.core.constellation import Constellation
from galaxy.core.events import ConstellationSubmitted
from galaxy.core.star import Line, Star
from galaxy.views.analysis import analysed
from protocol.vocabulary import Effect


def constellation(*stars: str, lines: tuple[str, ...] = (), **ran_s: float) -> Constellation:
    """Return one of stars written `id:tool`, of which some have run for so long."""
    made = Constellation("c")
    written = tuple(Star(*star.split(":")) for star in stars)
    drawn = tuple(Line(*line.split("->")) for line in lines)
    made.apply(ConstellationSubmitted(at=1.0, constellation="c", name="c", stars=written, lines=drawn))
    for star, seconds in ran_s.items():
        made.courses[star].attempts.append(Attempt(1, "laptop", Effect.PURE, 1.0, ran_s=seconds))
    return made


def test_the_critical_path_is_the_longest_by_what_stars_took():
    found = analysed(constellation("a:x", "b:y", "c:z", "d:x", lines=("a->b", "a->c", "b->d", "c->d"), b=1.0, c=9.0))

    assert found == {"critical_path": ["a", "c", "d"], "critical_path_s": 11.0, "depth": 3, "width": 2}


def test_a_star_that_has_not_run_is_guessed_from_those_of_its_tool():
    found = analysed(constellation("a:x", "b:x", "c:x", "d:y", b=4.0, c=6.0))

    assert (found["critical_path_s"], found["depth"], found["width"]) == (6.0, 1, 4)
    assert analysed(constellation("a:x", "b:x", "c:x", lines=("a->b",), c=6.0))["critical_path_s"] == 12.0


def test_the_last_star_of_a_path_counts_as_much_as_the_first():
    assert analysed(constellation("a:x", "b:y", "c:z", lines=("a->b", "a->c"), c=50.0))["critical_path"] == ["a", "c"]
