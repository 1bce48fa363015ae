"""Ten thousand stars in one constellation, and a thousand constellations at once, through real processes."""

from pathlib import Path

import pytest

from nebulabench.dispatch import bench, one_run
from nebulabench.graphs import Shape

GROWTH_MAX = 1.5


@pytest.mark.timeout(240)
def test_ten_thousand_stars_cost_each_as_much_as_a_thousand_do(tmp_path: Path):
    with bench(tmp_path, devices=5, durability="process") as galaxy:
        small = [one_run(galaxy, Shape.LAYERED, 1_000) for _ in range(3)]
        large = one_run(galaxy, Shape.LAYERED, 10_000)
        many = one_run(galaxy, Shape.MANY, 10_000)

    def cost(run: dict[str, dict[str, float]]) -> float:
        """The processor's time, not the clock's: other work on the machine shows less in it."""
        return run["cpu_us_per_star"]["node"] + run["cpu_us_per_star"]["agents"]

    assert cost(large) < GROWTH_MAX * sorted(map(cost, small))[1]
    assert many["stars_per_s"] > 0  # all thousand have ended, each of them well
