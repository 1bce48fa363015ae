"""Whose star is next, where constellations compete for devices."""

from collections import Counter

from galaxy.core.edit import AddStar, Skip
from galaxy.core.events import StarLeased
from galaxy.core.placement import shares
from galaxy.core.star import Star, Timeouts

from .helpers import Log, device, done, edit, star, submit


def shared(*constellations, turns, slots=1) -> list[str]:
    """Return whose stars a device is given, one after the other, each as soon as the one before is done."""
    log = Log()
    log.feed(*device(slots=slots))
    for name, stars in constellations:
        log.feed(submit(*stars, c=name, at=log.now + 1.0))
    for _ in range(turns):
        attempt = next(iter(log.core.placer.held["laptop"]))
        log.feed(done(str(attempt), log.now + 1.0))
    return [leased.constellation for leased in log.of(StarLeased)]


def many(number: int, **how) -> list[Star]:
    return [star(f"s{n:03}", **how) for n in range(number)]


def test_a_small_constellation_does_not_wait_for_a_large_one_that_came_before():
    order = shared(("large", many(200)), ("small", many(5)), turns=20)

    assert max(n for n, name in enumerate(order) if name == "small") < 12


def test_constellations_that_compete_are_served_in_equal_shares():
    order = shared(*((name, many(100)) for name in "abc"), turns=90)

    assert all(27 <= order.count(name) <= 40 for name in "abc"), Counter(order)


def test_shares_are_equal_also_between_stars_that_ask_for_different_tools():
    log = Log()
    log.feed(*device(tools=("shell", "net")))
    log.feed(submit(*many(50), c="a"), submit(*many(50, tool="net"), c="b"), submit(*many(50), c="d"))
    for n in range(45):
        attempt = next(iter(log.core.placer.held["laptop"]))
        log.feed(done(str(attempt), 1.0 + n))
    order = [leased.constellation for leased in log.of(StarLeased)]

    assert all(13 <= order.count(name) <= 19 for name in "abd"), Counter(order)


def test_each_level_of_priority_doubles_a_share_and_the_lowest_is_served_too():
    order = shared(("low", many(100)), ("high", many(100, priority=2)), turns=70)

    assert 3.0 <= order.count("high") / order.count("low") <= 5.0


def test_a_star_of_low_priority_does_not_starve_behind_its_own_constellations_others():
    """New ones of a higher priority come for ever, as where a planner goes on adding them."""
    log = Log()
    log.feed(*device(), submit(star("first"), star("low", priority=-1000, timeouts=Timeouts(queue_s=0.0))))
    for n in range(40):
        (attempt,) = log.core.placer.held["laptop"]
        new = AddStar(star(f"n{n}", priority=1000))
        log.feed(edit(new, at=300.0 * n, base=n + 1), done(str(attempt), 300.0 * n))

    assert "low" in [leased.star for leased in log.of(StarLeased)]


def test_who_was_idle_has_no_arrears_to_be_made_up():
    """`late` comes when `busy` has long been served: from then on they are equal."""
    log = Log()
    log.feed(*device(), submit(*many(100), c="busy"))
    for n in range(50):
        (attempt,) = log.core.placer.held["laptop"]
        log.feed(done(str(attempt), 1.0 + n))
    log.feed(submit(*many(100), c="late", at=60.0))
    before = len(log.of(StarLeased))
    for n in range(20):
        (attempt,) = log.core.placer.held["laptop"]
        log.feed(done(str(attempt), 61.0 + n))

    order = [leased.constellation for leased in log.of(StarLeased)[before:]]
    assert 8 <= order.count("late") <= 12, order


def test_who_was_served_longest_ago_is_forgotten(monkeypatch):
    monkeypatch.setattr(shares, "KEPT_MAX", 10)
    log = Log()
    log.feed(*device())
    for n in range(200):
        log.feed(submit(star("a"), c=f"c{n}", at=2.0 * n), done(f"c{n}/a#1", 2.0 * n + 1.0))

    assert len(log.core.placer._queue._shares.tags) == 10


def test_who_has_waited_longest_goes_first_in_every_sixteenth_turn_whatever_it_asks_for():
    """Beside stars that nobody can take, and some that lapse."""
    log = Log()
    log.feed(*device(tools=("shell", "net")))
    log.feed(submit(star("old"), star("gone", tool="net"), *many(20, tool="none"), c="old"))
    log.feed(submit(*many(60, priority=9, tool="net"), c="new", at=1.0))
    log.feed(edit(Skip("gone"), c="old", at=1.5))
    for n in range(40):
        (attempt,) = log.core.placer.held["laptop"]
        log.feed(done(str(attempt), 2.0 + n))

    assert "old" in [leased.constellation for leased in log.of(StarLeased)]
    assert log.course("gone", "old").state == "skipped"
