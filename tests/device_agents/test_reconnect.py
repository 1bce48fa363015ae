"""When the agent dials again."""

from random import Random

from device_agents.reconnect import CAP_S, FIRST_S, STEADY_AFTER_S, WISH_S_MAX, Reconnect


class Highest(Random):
    """Chance at its upper end: what is left of full jitter is its ceiling."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_each_failure_doubles_the_ceiling_up_to_a_limit():
    reconnect = Reconnect(Highest())

    ceilings = [reconnect.ended(0.0) for _ in range(12)]

    assert ceilings[:4] == [FIRST_S * 2, FIRST_S * 4, FIRST_S * 8, FIRST_S * 16]
    assert ceilings[-1] == CAP_S
    assert ceilings == sorted(ceilings)


def test_ten_thousand_failures_are_no_more_than_many():
    reconnect = Reconnect(Highest())

    assert {reconnect.ended(0.0) for _ in range(10_000)} >= {CAP_S}


def test_a_link_that_lasted_ends_the_back_off():
    reconnect = Reconnect(Highest())
    for _ in range(10):
        reconnect.ended(0.0)

    assert reconnect.ended(STEADY_AFTER_S) == FIRST_S
    assert reconnect.ended(0.0) == FIRST_S * 2


def test_links_that_break_at_once_count_as_failures():
    reconnect = Reconnect(Highest())
    reconnect.ended(0.0)

    assert reconnect.ended(STEADY_AFTER_S - 0.1) == FIRST_S * 4


def test_a_crowd_spreads_over_the_whole_time_there_is():
    delays = [Reconnect(Random(seed)).ended(0.0) for seed in range(1_000)]

    assert all(0.0 <= delay <= FIRST_S * 2 for delay in delays)
    assert sum(delay < FIRST_S for delay in delays) in range(400, 600)


def test_galaxys_wish_is_a_floor_with_chance_above_it():
    delays = [Reconnect(Random(seed)).ended(60.0, retry_after_s=5.0) for seed in range(100)]

    assert all(5.0 <= delay <= 5.0 + FIRST_S for delay in delays)
    assert len(set(delays)) == 100


def test_a_wish_beyond_reason_is_cut_to_reason():
    assert Reconnect(Highest()).ended(60.0, retry_after_s=1e300) == WISH_S_MAX + FIRST_S
    assert Reconnect(Highest()).ended(60.0, retry_after_s=-1e300) == FIRST_S


def test_the_same_seed_gives_the_same_delays():
    one, other = Reconnect(Random(7)), Reconnect(Random(7))

    assert [one.ended(0.0) for _ in range(20)] == [other.ended(0.0) for _ in range(20)]
