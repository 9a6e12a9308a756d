"""Commands of the workflow: they name a config and a job, and read what their rule's params say."""

from __future__ import annotations

import json
import re
import shlex
import shutil

import pytest
import yaml
from trees import copy_tree

from fastff.cli import build_parser
from fastff.cli.arguments import with_settings
from fastff.config.jobs import (
    BENCH_SETTINGS,
    LABELS,
    TRAIN_SETTINGS,
    named_benchmark,
    named_jobs,
)
from fastff.config.load import load_config

JOB = "soft_merging/fff_mixture_softplus"
KEPT = "results/tiny/config.yaml"
# Appended to the workflow: at its end, what it keeps, and each planned job's params and command.
WRITE = """

import atexit


def write_down():
    planned = [
        {"rule": job.rule.name, "command": job.shellcmd, "params": dict(job.params.items())}
        for job in workflow.dag.jobs
        if job.rule.name in ("train", "bench")
    ]
    Path("jobs.json").write_text(json.dumps(planned))
    Path("kept.yaml").write_text(CHECKED.text)


atexit.register(write_down)
"""


def commands(printed: str, rule: str) -> list[str]:
    """Return the commands of a step that `snakemake -p` has printed."""
    return re.findall(rf"^(?:Shell command: |\s*)(fastff {rule} .*)$", printed, re.MULTILINE)


def test_a_printed_line_repeats_a_job_by_hand(finished, edited):
    """As it is printed by a dry run, also after the job and its stored runs are gone."""
    folder = edited.folder / "results" / "tiny"
    for part in (f"jobs/{JOB}", "store"):
        shutil.rmtree(folder / part)
    printed = edited.snakemake(f"results/tiny/jobs/{JOB}/runs.csv", "--dry-run", "-p")
    (command,) = commands(printed.stdout + printed.stderr, "train")
    assert f"--config {KEPT} --job {JOB} " in command
    assert len(command) < 300
    edited.run(["bash", "-c", command])
    kept = finished.folder / "results" / "tiny" / "jobs" / JOB
    made = {path.name: path.read_bytes() for path in (folder / "jobs" / JOB).iterdir()}
    assert made == {path.name: path.read_bytes() for path in kept.iterdir()}
    keys = {path.name for path in (folder / "store").rglob("*.json")}
    assert keys
    assert keys <= {path.name for path in (finished.folder / "results/tiny/store").rglob("*.json")}


@pytest.mark.parametrize(
    "more",
    [[], ["one_job_per_experiment=False", "runs_per_job=4", "tf32=True"]],
    ids=["whole", "split"],
)
def test_commands_read_what_their_params_say(more, tmp_path):
    """Of every job of the config `smoke`: a param that its command doesn't read would be a lie."""
    tree = copy_tree(tmp_path / "tree")
    snakefile = tree.folder / "workflow" / "Snakefile"
    snakefile.write_text(snakefile.read_text() + WRITE)
    tree.snakemake("--dry-run", *(["--config", *more] if more else []), config="smoke")
    jobs = json.loads((tree.folder / "jobs.json").read_text())
    config = load_config(tree.folder / "kept.yaml")
    n_variants = sum(len(block.variants) for block in config.experiments.values())
    rules = [job["rule"] for job in jobs]
    assert rules.count("bench") == len(config.benchmarks) > 0
    n_experiments = len(config.experiments)
    assert rules.count("train") > n_variants if more else rules.count("train") == n_experiments
    for job in jobs:
        words = shlex.split(job["command"].partition(" 2> ")[0])
        given = build_parser().parse_args(words[1:])
        assert str(given.configfile) == job["params"]["config"] == "results/smoke/config.yaml"
        if job["rule"] == "train":
            specs = [spec.model_dump_json(exclude=LABELS) for spec in named_jobs(config, given.job)]
            assert specs == job["params"]["specs"]
            names = TRAIN_SETTINGS
        else:
            spec = named_benchmark(config, given.job)
            assert spec.model_dump_json() == job["params"]["spec"]
            names = BENCH_SETTINGS
        read = with_settings(given, config, names)
        assert {name: getattr(read, name) for name in names} == job["params"]["settings"]


def test_a_start_keeps_the_config_and_a_dry_run_does_not(edited):
    path = edited.folder / KEPT
    before = path.read_text()
    edited.edit("config/tiny.yaml", "title: Soft merging", "title: Merging")
    assert edited.planned() - {"all"} == {"draw_soft_merging"}
    assert path.read_text() == before
    edited.snakemake("--touch")
    assert yaml.safe_load(path.read_text())["experiments"]["soft_merging"]["title"] == (
        "Merging of experts"
    )
    text = path.read_text()
    path.write_text("name: other\n")  # edited by hand: the next start writes it anew
    assert edited.planned() == set()
    edited.snakemake(f"results/tiny/jobs/{JOB}/runs.csv", "--force")
    assert path.read_text() == text
    assert edited.planned("results/tiny/tidy/soft_merging/runs.csv") <= {"collect soft_merging"}
