"""One complete run of the tiny config, shared by the tests that look at it or build on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from trees import Tree, copy_tree


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A tree after a complete run of the tiny config on all cores. Tests leave it as it is."""
    tree = copy_tree(tmp_path_factory.mktemp("finished") / "tree")
    tree.snakemake()
    return tree


@pytest.fixture
def edited(finished: Tree, tmp_path: Path) -> Iterator[Tree]:
    """A copy of the finished tree, for a test to edit; times and metadata are kept."""
    target = tmp_path / "tree"
    shutil.copytree(finished.folder, target, symlinks=True)
    yield Tree(target)
    shutil.rmtree(target)
