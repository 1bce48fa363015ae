"""The fault matrix on real processes: every cell in which something goes wrong, judged by its log and its files."""

import asyncio
from pathlib import Path

import pytest

from nebulabench.cluster.matrix import CELLS
from nebulabench.cluster.run import run_cells
from nebulabench.cluster.verdict import Verdict

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """Run all cells, side by side: one by one they would take an hour."""
    folder: Path = tmp_path_factory.mktemp("faults")
    return asyncio.run(run_cells(CELLS, folder))


def test_the_matrix_has_every_fault_at_every_moment():
    assert len(CELLS) >= 60
    assert len({cell.name for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("name", [cell.name for cell in CELLS])
def test_nothing_is_lost_and_nothing_happens_twice_in_the_cell(name: str, verdicts: dict[str, Verdict]):
    found = verdicts[name]

    assert found.violations == [], f"uv run nebulabench faults --cell {name} --keep DIRECTORY"
    assert (found.duplicates, found.lost) == (0, 0)
