"""Killed at any moment, a run that is started again ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from trees import copy_tree

from fastff.verify.exact import compare_runs

pytestmark = pytest.mark.faults

KILLS = {"prepare": 6, "train": 8, "draw": 8}  # how often a stage is killed
DELAYS = {"prepare": 5.0, "train": 9.0, "draw": 8.0}  # seconds from its start, at most
DRAWN = ["results/faults/tables", "results/faults/notebooks", "figures"]
MADE = {  # what to delete so that a stage has something to do again: all that comes of it, too
    "prepare": ["results", "figures"],
    "train": [*(f"results/faults/{part}" for part in ("jobs", "store", "tidy")), *DRAWN],
    "draw": DRAWN,
}
COMMAND = ("--cores", "2")
PRODUCTS = ("results/data", "results/faults/jobs", "results/faults/tidy", "results/faults/tables")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


def whole_files(folder: Path) -> dict[str, bytes]:
    """Return the products under their final names, but those that carry times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for part in (*PRODUCTS, "figures/faults")
        for path in (folder / part).rglob("*")
        if path.is_file()
        and not path.name.startswith(".")
        and not {"logs", "benchmarks"} & set(path.parts)
    }


def wait_for(rule: str, process: subprocess.Popen, log: Path) -> bool:
    """Return whether a job of the rule starts before the process ends."""
    while process.poll() is None:
        if f"rule {rule}" in log.read_text():
            return True
        time.sleep(0.05)
    return False


def test_kills_leave_nothing_half_written(undisturbed, tmp_path, capsys):
    """SIGKILL or SIGTERM to the whole process group, and the same command again."""
    draw = random.Random(8)
    expected = whole_files(undisturbed.folder)
    tree = copy_tree(tmp_path / "tree")
    log, kills, started = tmp_path / "log", [], time.monotonic()
    for stage, wanted in KILLS.items():
        while sum(kill[0] == stage for kill in kills) < wanted:
            process = tree.start(*COMMAND, config="faults", log=log)
            if not wait_for(stage, process, log):
                assert process.returncode == 0, log.read_text()
                for made in MADE[stage]:
                    shutil.rmtree(tree.folder / made, ignore_errors=True)
                continue
            delay, kind = draw.uniform(0, DELAYS[stage]), draw.choice(SIGNALS)
            time.sleep(delay)
            if process.poll() is not None:
                continue
            os.killpg(process.pid, kind)
            process.wait(timeout=60)
            kills.append((stage, kind.name, round(delay, 1)))
            for path, content in whole_files(tree.folder).items():
                assert content == expected[path], f"{path} after {kills[-1]}"
    process = tree.start(*COMMAND, config="faults", log=log)
    assert process.wait(timeout=300) == 0, log.read_text()

    assert whole_files(tree.folder) == expected
    comparison = compare_runs(undisturbed.folder, tree.folder, "faults")
    assert comparison.identical, comparison.report()
    train_logs = (tree.folder / "results/faults/logs/train").rglob("*.log")
    resumed = sum("training goes on after epoch" in path.read_text() for path in train_logs)
    with capsys.disabled():
        print(
            f"\n{len(kills)} kills survived in {time.monotonic() - started:.0f} s: {kills}\n"
            f"{comparison.report()}; the last training of {resumed} jobs went on from a checkpoint"
        )


@pytest.mark.parametrize("stage", ["train", "draw"])
def test_ctrl_c_leaves_no_process_and_a_tree_that_goes_on(stage, undisturbed, tmp_path):
    tree = copy_tree(tmp_path / "tree")
    log = tmp_path / "log"
    if stage == "draw":  # up to there nothing is to be done
        for part in ("results", ".snakemake"):
            shutil.copytree(undisturbed.folder / part, tree.folder / part)
        shutil.rmtree(tree.folder / "results/faults/tables")
    process = tree.start(*COMMAND, config="faults", log=log)
    assert wait_for(stage, process, log)
    time.sleep(4)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) != 0
    deadline = time.monotonic() + 30
    while (left := tree.processes()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    last = log.read_text().rstrip().splitlines()[-1]
    assert last == "At least one job did not complete successfully."
    again = tree.start(*COMMAND, config="faults", log=log)
    assert again.wait(timeout=300) == 0, log.read_text()
    assert compare_runs(undisturbed.folder, tree.folder, "faults").identical
