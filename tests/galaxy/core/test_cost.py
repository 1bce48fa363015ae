"""What a step costs must not grow with what it does not touch. Counted in calls of functions, not in seconds."""

import pytest

from galaxy.core.edit import AddLine, AddStar, UpdateStar
from galaxy.core.orders import Dispatch
from galaxy.core.star import Needs, When

from .cost import calls_of
from .helpers import Log, connect, device, disconnect, done, edit, line, profile, star, submit


def wide(stars: int, devices: int = 4) -> tuple[Log, list[Dispatch]]:
    """Many stars behind one, all between one and a last; some are under way."""
    log = Log()
    names = [f"s{n}" for n in range(stars)]
    for n in range(devices):
        log.feed(*device(f"d{n}", slots=4))
    ends = [*(line(f"first>{name}") for name in names), *(line(f"{name}>last", When.ALWAYS) for name in names)]
    (order,) = log.feed(submit(star("first"), *map(star, names), star("last"), *ends))
    orders = log.feed(done(str(order.attempt), by=order.device))
    return log, [order for order in orders if isinstance(order, Dispatch)]


def cost_of_finishing(log: Log, orders: list[Dispatch], number: int = 200) -> float:
    """Return the calls that it takes, on average, to finish a star and to start the next."""

    def finish() -> None:
        for n in range(number):
            order = orders.pop(0)
            (following,) = log.feed(done(str(order.attempt), 2.0 + n / 1_000, by=order.device))
            orders.append(following)

    return calls_of(finish) / number


def test_finishing_a_star_costs_the_same_in_a_large_constellation():
    small, large = (cost_of_finishing(*wide(stars)) for stars in (1_000, 10_000))

    assert large <= 1.2 * small
    assert large < 350, "calls: some 20 us"


def test_finishing_a_star_costs_the_same_beside_many_other_constellations():
    costs = []
    for others in (0, 1_000):
        log, orders = wide(1_000)
        for n in range(others):
            log.feed(submit(star("a", tool="none"), star("b"), line("a>b"), c=f"other{n}", at=1.5))
        costs.append(cost_of_finishing(log, orders))

    assert costs[1] <= 1.2 * costs[0]


def test_finishing_a_star_costs_the_same_behind_stars_that_nobody_can_do():
    costs = []
    for stuck in (1, 1_000):
        log, orders = wide(1_000)
        log.feed(submit(*(star(f"p{n}", needs=Needs(device="nova")) for n in range(stuck)), c="stuck", at=1.5))
        costs.append(cost_of_finishing(log, orders))

    assert costs[1] <= 1.2 * costs[0]


def test_a_small_edit_costs_the_same_in_a_large_constellation():
    costs = []
    for stars in (1_000, 10_000):
        log, _ = wide(stars)
        event = edit(AddStar(star("n")), AddLine(line("s5>n")), AddLine(line("n>last")), at=3.0)
        costs.append(calls_of(lambda log=log, event=event: log.core.check(event)))
        event = edit(AddStar(star("n", tool="none")), UpdateStar(star(f"s{stars - 1}")), at=3.0)
        costs.append(calls_of(lambda log=log, event=event: log.feed(event)))

    assert costs[2] <= 1.2 * costs[0]
    assert costs[3] <= 1.2 * costs[1]


def test_a_device_that_comes_and_goes_costs_what_it_holds():
    costs = []
    for stars in (1_000, 10_000):
        log, _ = wide(stars)
        events = [disconnect("d0", 3.0), connect("d0", 4.0, resumed=True, profile=profile(4))]
        costs.append(calls_of(lambda log=log, events=events: log.feed(*events)))

    assert costs[1] <= 1.2 * costs[0]


@pytest.mark.parametrize("devices", [10, 40])
def test_placing_a_star_looks_at_each_able_device_once(devices):
    log, orders = wide(1_000, devices)

    assert cost_of_finishing(log, orders) < 265 + 12 * devices
