"""One complete run of the tiny config, shared by the tests that look at it or build on it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from trees import Tree, copy_tree


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what waits for a complete run, which takes minutes."""
    for item in items:
        waits = "finished" in getattr(item, "fixturenames", ())
        if waits and item.get_closest_marker("faults") is None:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Tree:
    """A tree after a complete run of the tiny config on all cores. Tests leave it as it is.

    Of several test processes one does the run, and each has its copy.
    """
    own = tmp_path_factory.mktemp("finished") / "tree"
    if worker_id == "master":
        copy_tree(own).snakemake()
        return Tree(own)
    shared = tmp_path_factory.getbasetemp().parent / "finished"
    with FileLock(shared.with_suffix(".lock")):
        if not shared.exists():
            tree = copy_tree(shared.with_suffix(".new"))
            tree.snakemake()
            tree.folder.rename(shared)
    shutil.copytree(shared, own, symlinks=True)
    return Tree(own)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A tree after a complete run of the config `faults`. Tests leave it as it is."""
    tree = copy_tree(tmp_path_factory.mktemp("undisturbed") / "tree")
    tree.snakemake(config="faults")
    return tree


@pytest.fixture
def edited(finished: Tree, tmp_path: Path) -> Iterator[Tree]:
    """A copy of the finished tree, for a test to edit; times and metadata are kept."""
    target = tmp_path / "tree"
    shutil.copytree(finished.folder, target, symlinks=True)
    yield Tree(target)
    shutil.rmtree(target)
