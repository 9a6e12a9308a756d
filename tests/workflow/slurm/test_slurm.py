"""Through Slurm: the same bytes as from a local run, also after jobs were killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from one_node import CONFIG_FOLDER, N_CPUS, children, missing
from trees import ROOT, Tree, copy_tree

from fastff.verify.exact import compare_runs

pytestmark = pytest.mark.slurm

ACTIVE = ("PENDING", "RUNNING", "COMPLETING")
SUBMITTED = "has been submitted with SLURM jobid"
LAST_WORDS = ".snakemake/slurm_logs"  # logs of Slurm, kept of jobs that failed


def wait_until(holds: Callable[[], object], process: subprocess.Popen[str], log: Path) -> None:
    """Wait until something holds while a run goes on."""
    deadline = time.monotonic() + 600
    while not holds():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def finish(process: subprocess.Popen[str], log: Path) -> None:
    assert process.wait(timeout=3600) == 0, log.read_text()


@pytest.fixture(scope="module")
def smoke_tree(tmp_path_factory) -> Callable[[str], Tree]:
    """What makes a copy of the repository with what the config `smoke` draws."""

    def copy(name: str) -> Tree:
        tree = copy_tree(tmp_path_factory.mktemp(name) / "a tree")
        shutil.copytree(ROOT / "results" / "reference", tree.folder / "results" / "reference")
        return tree

    return copy


def test_smoke_has_the_same_bytes_through_slurm(cluster, smoke_tree, tmp_path, capsys):
    seconds = {}
    local, remote, log = smoke_tree("local"), smoke_tree("remote"), tmp_path / "log"
    started = time.monotonic()
    local.snakemake("--cores", str(N_CPUS), "--config", "device=cpu", config="smoke")
    seconds["local"] = time.monotonic() - started
    started = time.monotonic()
    finish(cluster.start(remote, config="smoke", log=log), log)
    seconds["slurm"] = time.monotonic() - started

    comparison = compare_runs(local.folder, remote.folder, "smoke")
    assert comparison.identical, comparison.report()
    assert "Trying to restart" not in log.read_text()
    submitted = re.findall(rf"{SUBMITTED} (\d+)", log.read_text())
    assert set(cluster.jobs("COMPLETED")) >= set(submitted)
    with capsys.disabled():
        print(
            f"\n{comparison.report()}; local {seconds['local']:.0f} s, through Slurm"
            f" {seconds['slurm']:.0f} s in {len(submitted)} jobs, {N_CPUS} cores"
        )


def test_killed_jobs_are_run_again(cluster, undisturbed, tmp_path, capsys):
    """Each training runs out of memory at first; then one is cancelled in the midst of its work."""
    tree, log = copy_tree(tmp_path / "tree"), tmp_path / "log"
    memory = "train:mem_mb=150 + 4000 * (attempt - 1)"
    run = cluster.start(tree, "--set-resources", memory, config="faults", log=log)
    store = tree.folder / "results" / "faults" / "store"
    wait_until(lambda: list(store.rglob("*checkpoint*")), run, log)
    cancelled = [job for job, rule in cluster.jobs("RUNNING").items() if "rule_train" in rule][:1]
    cluster.ask("scancel", *cancelled)
    finish(run, log)

    last_words = [path.read_text() for path in (tree.folder / LAST_WORDS).rglob("*.log")]
    out_of_memory = [text for text in last_words if "exceeded memory limit" in text]
    assert len(out_of_memory) == 3
    assert f"SLURM-job '{cancelled[0]}' failed, SLURM status is: 'CANCELLED'" in log.read_text()
    assert log.read_text().count("Trying to restart") == len(out_of_memory) + 1
    train_logs = (tree.folder / "results" / "faults" / "logs" / "train").rglob("*.log")
    assert any("training goes on after epoch" in path.read_text() for path in train_logs)
    comparison = compare_runs(undisturbed.folder, tree.folder, "faults")
    assert comparison.identical, comparison.report()
    with capsys.disabled():
        print(
            f"\n{len(out_of_memory)} jobs out of memory and 1 cancelled, all run again;"
            f" {comparison.report()}"
        )


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_run_goes_on(kind, cluster, undisturbed, tmp_path):
    """Ctrl-C takes its jobs from the queue; of a run that was killed hard the run id does."""
    tree, log = copy_tree(tmp_path / "tree"), tmp_path / "log"
    run = cluster.start(tree, config="faults", log=log)
    wait_until(lambda: log.read_text().count(SUBMITTED) == 3, run, log)
    (snakemake,) = children(run.pid)
    os.kill(snakemake, kind)
    assert run.wait(timeout=120) != 0
    if kind == signal.SIGKILL:
        assert cluster.jobs(*ACTIVE)
        (run_id,) = re.findall(r"SLURM run ID: (\S+)", log.read_text())
        cluster.ask("scancel", "--name", run_id)
    deadline = time.monotonic() + 120
    while cluster.jobs(*ACTIVE):
        assert time.monotonic() < deadline
        time.sleep(0.2)

    finish(cluster.start(tree, config="faults", log=log), log)
    assert compare_runs(undisturbed.folder, tree.folder, "faults").identical


def test_jobs_ask_for_what_their_rule_needs(cluster, smoke_tree, tmp_path):
    """Minutes, memory, CPUs, GPUs and whether the node may be shared; each can be changed."""
    tree, log = smoke_tree("asking"), tmp_path / "log"
    before = cluster.jobs("all")
    wanted = ["jobs/hypercube/moe_mixture/runs.csv", "benchmarks/gate_benchmark.csv"]
    changed = ["train:gpu=1", "train:runtime=7"]
    targets = [f"results/smoke/{path}" for path in wanted]
    run = cluster.start(tree, *targets, "--set-resources", *changed, config="smoke", log=log)
    finish(run, log)
    columns = "JobID,Comment:80,TimeLimit,MinMemory,MinCpus,tres-per-job,OverSubscribe"
    shown = cluster.ask("squeue", "--noheader", "--states", "all", "--Format", columns)
    asked = {}
    for line in shown.splitlines():
        job, comment, *rest = line.split()
        if job not in before:
            asked[comment.partition("_wildcards_")[0]] = rest
    assert asked == {
        "rule_train": ["7:00", "8000M", "1", "gres:gpu:1", "OK"],
        "rule_bench": ["4:00:00", "16000M", str(N_CPUS), "N/A", "NO"],
    }


def test_nothing_is_left_of_a_slurm_whose_starter_was_killed(tmp_path):
    if lack := missing():
        pytest.skip(lack)
    untouched = sorted(CONFIG_FOLDER.rglob("*"))
    folder = tmp_path / "slurm"
    script = (
        "import sys, time; from pathlib import Path; from one_node import one_node\n"
        "with one_node(Path(sys.argv[1])) as cluster:\n"
        "    print(cluster.ask('sinfo'), flush=True)\n"
        "    time.sleep(600)\n"
    )
    paths = os.pathsep.join(str(Path(__file__).parents[n]) for n in (0, 1))
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
        env={**os.environ, "PYTHONPATH": f"{paths}{os.pathsep}{ROOT / 'src'}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    assert "PARTITION" in starter.stdout.readline()
    assert running(folder)
    starter.kill()
    starter.communicate()
    deadline = time.monotonic() + 10
    while left := running(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert sorted(CONFIG_FOLDER.rglob("*")) == untouched


def running(folder: Path) -> list[str]:
    """Return the command lines that name a folder, and those of Slurm's daemons that run for it."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            files = [str(link.readlink()) for link in (path / "fd").iterdir()]
        except OSError:  # it has just ended
            continue
        names_it = f"{folder}/" in command or any(f.startswith(f"{folder}/") for f in files)
        if names_it:
            found.append(command)
    return found
