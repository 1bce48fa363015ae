"""Two hundred worlds in which everything goes wrong, and every rule holds."""

import os
import subprocess
import sys

import pytest

from nebulabench.world.faults import KINDS, PROFILES
from nebulabench.world.plan import planned
from nebulabench.world.simulate import digest, one, simulated

SEEDS = 50  # of each profile
CHUNK = 10
AGAIN = """
from nebulabench.world.plan import planned
from nebulabench.world.simulate import digest, simulated
print(digest(simulated(planned(7, "harsh"))[1]))
"""


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
@pytest.mark.parametrize("profile", PROFILES)
def test_whatever_goes_wrong_every_rule_of_the_judges_holds(profile, first):
    broken = {}
    for seed in range(first, first + CHUNK):
        verdict = one(seed, profile)
        if not verdict.passed:
            broken[f"nebulabench simulate --profile {profile} --seed {seed} --shrink --trace"] = verdict.violations

    assert not broken


@pytest.mark.parametrize(
    ("profile", "seed"),
    [
        ("harsh", 144),  # two agents of one identity replaced each other, and what each held was done again
        ("harsh", 154),  # a run counted from its decision, though the store took a minute to record that
        ("harsh", 236),  # as the first, at the end of a constellation
        ("harsh", 2956),  # two agents: what may happen once happened twice
        ("harsh", 30344),  # a device that stood still began a call that lay in its socket and was given away meanwhile
    ],
)
def test_what_once_broke_a_rule_does_not_break_it_again(profile, seed):
    assert one(seed, profile).violations == []


def test_a_seed_goes_the_same_way_again_also_in_another_process():
    first = digest(simulated(planned(7, "harsh"))[1])
    assert digest(simulated(planned(7, "harsh"))[1]) == first

    for hashing in ("0", "1234"):
        told = subprocess.run(
            [sys.executable, "-c", AGAIN],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hashing},
        )
        assert told.stdout.strip() == first


def test_every_kind_of_fault_happens_and_every_kind_of_end_is_seen():
    """Else the seeds would prove less than they seem to."""
    seen = sum(
        (one(seed, profile).kinds for profile in ("harsh", "swizzle") for seed in range(40)), one(0, "mild").kinds
    )

    assert {f"fault {kind}" for kind in KINDS} <= set(seen)
    for kind in (
        *("star_leased", "star_accepted", "star_progressed", "star_reported", "lease_ended", "report_refused"),
        *("device_asleep", "device_suspected", "device_trusted", "stop_begun", "constellation_edited"),
        *("cancel_requested", "effect_judged", "line_judged", "node_started", "star_failed"),
    ):
        assert seen[kind] > 0, kind
