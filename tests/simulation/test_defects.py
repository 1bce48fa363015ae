"""The judges are judged: each deliberate defect of the product is caught."""

import pytest

from nebulabench.world.defects import DEFECTS, Defect, switched_on
from nebulabench.world.simulate import one

pytestmark = pytest.mark.timeout(400)

SEEDS_MAX = 2_000


@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.name for defect in DEFECTS])
def test_a_product_that_has_the_defect_is_caught_within_two_thousand_seeds(defect: Defect):
    with switched_on(defect):
        # The seed that showed it once shows it again, unless the product has changed: then others are looked through.
        assert any(one(seed, defect.profile).violations for seed in (defect.seed, *range(SEEDS_MAX)))


def test_what_was_switched_on_is_off_again_and_the_same_seeds_pass():
    for defect in DEFECTS:
        with switched_on(defect):
            pass

    assert one(0, "harsh").violations == []
