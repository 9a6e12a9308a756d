"""A Slurm for all tests of a session. What it needs of a machine is said where they are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from one_node import Cluster, missing, one_node


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Slurm of one node, this machine."""
    if lack := missing():
        pytest.skip(lack)
    with one_node(tmp_path_factory.mktemp("slurm")) as running:
        yield running
