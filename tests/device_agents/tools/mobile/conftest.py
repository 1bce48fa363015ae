"""A bench with the phone on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.phone import phone

from ..bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path)
    with phone() as found.peer:
        yield found
