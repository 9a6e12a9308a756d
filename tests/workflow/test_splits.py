"""Variants split into jobs: the same bytes, and nothing trained twice."""

import pytest
from trees import TINY, copy_tree

from fastff.tables.schema import TIDY

pytestmark = pytest.mark.slow


def jobs_of(tree):
    """Return the jobs of gate_activation that have been trained, `variant` or `variant/runs`."""
    folder = tree.folder / "results/tiny/jobs/gate_activation"
    return {str(path.parent.relative_to(folder)) for path in folder.rglob("runs.csv")}


def test_any_split_gives_the_same_bytes_and_retrains_nothing(finished, tmp_path):
    tree = copy_tree(tmp_path / "tree")
    tree.snakemake("--config", "runs_per_job=4")
    variants = [variant.name for variant in TINY.experiments["gate_activation"].variants]
    split = {f"{variant}/{part}" for variant in variants for part in ("0-3", "4-7")}
    assert jobs_of(tree) == split
    assert tree.snakemake("--dry-run", "--config", "runs_per_job=4").stdout.count("Nothing to") == 1
    command = ["fastff", "verify", str(finished.folder), str(tree.folder), "--exact"]
    assert "identical, 0 not" in finished.run([*command, "--name", "tiny"]).stdout

    # another split: two points' stacks of two seeds each
    tidy = {name: tree.folder / f"results/tiny/tidy/gate_activation/{name}.csv" for name in TIDY}
    written = {name: path.read_bytes() for name, path in tidy.items()}
    targets = [str(path.relative_to(tree.folder)) for path in tidy.values()]
    for config, part, n_runs in (("runs_per_job=2", "/6-7", 2), ("runs_per_job=", "", 8)):
        tree.snakemake(*targets, "--config", config)
        log = f"results/tiny/logs/train/gate_activation/{variants[0]}{part}.log"
        assert f"{n_runs} runs: {n_runs} stored, 0 to train" in (tree.folder / log).read_text()
        assert {name: path.read_bytes() for name, path in tidy.items()} == written
    two = {f"{variant}/{part}" for variant in variants for part in ("0-1", "2-3", "4-5", "6-7")}
    assert jobs_of(tree) == split | two | set(variants)  # none of the others was collected
