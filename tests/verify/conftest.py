"""Result trees to compare."""

from pathlib import Path

import pytest
from halves import HALVES, write_half


@pytest.fixture(scope="session")
def halves(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("halves")
    return {side: write_half(folder / side, seeds) for side, seeds in HALVES.items()}
