"""The command: what it prints, how it ends, the story it tells and how small it makes it."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from nebulabench.__main__ import app
from nebulabench.world.defects import DEFECTS, switched_on
from nebulabench.world.plan import planned
from nebulabench.world.shrink import shrunk
from nebulabench.world.simulate import simulated

ROOT = Path(__file__).parents[2]
SEVERAL = """\
from nebulabench.world.simulate import several

if __name__ == "__main__":
    print([verdict.seed for verdict in several(range(4), "mild", 2)])
"""
SLOTS = next(defect for defect in DEFECTS if defect.name == "slots are not counted")


def run(*words: str):
    return CliRunner().invoke(app, ["simulate", *words])


def test_a_range_of_seeds_is_told_in_one_line():
    told = run("--seeds", "0:3", "--profile", "mild", "--jobs", "1")

    assert told.exit_code == 0, told.output
    assert "3 seeds" in told.output
    assert "every rule held" in told.output


def test_a_seed_that_breaks_a_rule_ends_with_one_and_the_way_to_see_it_again():
    with switched_on(SLOTS):
        told = run("--seeds", "0:2", "--profile", "mild", "--jobs", "1")
        alone = run("--seed", "0", "--profile", "mild", "--json")

    assert told.exit_code == alone.exit_code == 1
    assert "nebulabench simulate --profile mild --seed 0 --shrink --trace" in told.output
    assert not json.loads(alone.stdout)["passed"]


def test_the_story_of_a_seed_names_faults_and_what_was_recorded_and_done():
    told = run("--seed", "3", "--profile", "harsh", "--trace")

    for words in ("fault: ", "star_leased", "takes effect", "client: submitted", "all is healed"):
        assert words in told.output


def test_json_has_the_counts_of_all_that_was_seen():
    told = json.loads(run("--seeds", "0:2", "--profile", "swizzle", "--jobs", "1", "--json").stdout)

    assert (told["seeds"], told["passed"], told["broken"]) == (2, 2, [])
    assert told["kinds"]["constellation_ended"] > 0


def test_what_is_not_a_range_or_a_profile_is_refused_with_what_would_be():
    for words in (("--seeds", "a:b"), ("--profile", "wild")):
        assert run(*words).exit_code == 2


def test_a_plan_that_breaks_a_rule_is_made_small_and_still_breaks_it():
    with switched_on(SLOTS):
        small = shrunk(planned(0, "mild"), tries_max=60)
        assert simulated(small)[0].violations
    plan = planned(0, "mild")

    assert len(small.faults) + len(small.submissions) + len(small.deeds) < len(plan.faults) + len(plan.submissions)
    whole = replace(plan, faults=(), deeds=())
    assert shrunk(whole) is whole, "nothing is wrong with it"


def test_seeds_over_several_processes_come_back_in_their_order(tmp_path: Path):
    # In a process of its own: what tracks a pool's resources stays, and other tests look for processes that were left.
    script = tmp_path / "several.py"
    script.write_text(SEVERAL, "utf-8")
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=True, cwd=ROOT)

    assert ran.stdout == "[0, 1, 2, 3]\n"
