"""A question to a slow planner holds only what it is about."""

from nebulabench.cut import STEPS, cut
from nebulabench.edits import edits


def test_a_branch_that_is_not_asked_about_loses_nothing_while_the_planner_thinks():
    found = cut(think_s=2.0)

    assert found["held_s"] >= 2.0
    assert found["stars_beside"] == STEPS
    assert found["lost_ms"] < 20, found


def test_an_edit_of_twenty_operations_is_checked_and_rebased_in_a_small_part_of_a_second():
    """The targets are 10 ms in 1,000 stars and 60 ms in 10,000, on a quiet machine; here twice that is still passed."""
    assert edits(1_000, rounds=50)["check_p50_ms"] < 2 * 10
    assert edits(10_000, rounds=20)["check_p50_ms"] < 2 * 60
