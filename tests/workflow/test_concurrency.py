"""Two runs at once: in one folder, and in two clones that share their data."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from trees import Tree, copy_tree

from fastff.verify.exact import compare_runs

pytestmark = pytest.mark.faults


def wait_for(text: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 120
    while text not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_run_in_the_same_folder_is_refused(undisturbed, tmp_path):
    tree, log = copy_tree(tmp_path / "tree"), tmp_path / "log"
    first = tree.start("--cores", "2", config="faults", log=log)
    wait_for("rule train", first, log)
    # a dry run reads only, and the first run doesn't notice it
    assert tree.snakemake("--dry-run", config="faults").returncode == 0
    second = tree.snakemake(config="faults", check=False)
    assert second.returncode != 0
    printed = second.stdout + second.stderr
    assert f"Another run works in {tree.folder}/results/faults" in printed
    assert "Traceback" not in printed
    assert first.wait(timeout=300) == 0, log.read_text()
    assert compare_runs(tree.folder, undisturbed.folder, "faults").identical


def sharing(folder: Path, data: Path) -> Tree:
    """Return a clone whose config has its data in a folder that others use."""
    tree = copy_tree(folder)
    values = yaml.safe_load((tree.folder / "config" / "faults.yaml").read_text())
    values["experiments"] = {"hypercube": values["experiments"]["hypercube"]}
    values["data_dir"] = str(data)
    (tree.folder / "config" / "faults.yaml").write_text(json.dumps(values))
    return tree


def test_two_clones_share_their_data(undisturbed, tmp_path):
    """Both start with nothing; then one prepares the data again while the other trains on it."""
    data = tmp_path / "data"
    trees = [sharing(tmp_path / name, data) for name in ("one", "two")]
    logs = [tmp_path / f"{place}.log" for place in range(2)]

    def start(place: int, *more: str) -> subprocess.Popen:
        return trees[place].start("--cores", "2", *more, config="faults", log=logs[place])

    runs = [start(0), start(1)]
    for run, log in zip(runs, logs, strict=True):
        assert run.wait(timeout=300) == 0, log.read_text()
    again = start(0, "--forceall")
    wait_for("rule train", again, logs[0])
    # "prepare" has its outputs' names by the config
    forced = start(1, "--forcerun", "prepare", "--until", "prepare")
    assert forced.wait(timeout=300) == 0, logs[1].read_text()
    assert again.wait(timeout=300) == 0, logs[0].read_text()
    stored = (undisturbed.folder / "results" / "data" / "mnist5k.npz").read_bytes()
    assert (data / "mnist5k.npz").read_bytes() == stored
    for tree in trees:
        for path in (tree.folder / "results" / "faults" / "tables").iterdir():
            made = (undisturbed.folder / "results" / "faults" / "tables" / path.name).read_bytes()
            assert path.read_bytes() == made
    assert not [path for path in data.rglob(".*") if path.is_file()]


def test_more_cores_than_there_are(undisturbed, tmp_path):
    tree, log = copy_tree(tmp_path / "tree"), tmp_path / "log"
    run = tree.start("--cores", "8", config="faults", log=log)
    assert run.wait(timeout=400) == 0, log.read_text()
    assert compare_runs(tree.folder, undisturbed.folder, "faults").identical
