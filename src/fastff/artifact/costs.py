"""What a run of a config cost: time, memory and disk per experiment and step.

The workflow keeps a table of one row per job, `<results>/benchmarks/<step>/<name>.tsv` or
`.../<step>/<name>/<job>.tsv`: `s` is the time on the clock, `cpu_time` that of all its processes,
`max_rss` the memory that they held at once, in MiB. A dataset that was there already has none.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from fastff.bench.provenance import provenance
from fastff.config.jobs import job_specs, language_jobs
from fastff.config.load import Config

COLUMNS = (
    *("config", "name", "dataset", "step", "jobs", "seconds", "wall_seconds", "cpu_seconds"),
    *("peak_mib", "disk_mib", "device_name", "python", "torch", "commit", "note"),
)
ALL = "all"
CLAIMS = "claims"  # the ledger, of all experiments
MIB = 2**20
MEASURED = ["s", "cpu_time", "max_rss"]


def measured_costs(config: Config, folder: Path, note: str = "") -> pd.DataFrame:
    """Return the costs of a finished run, a row per experiment or benchmark and step.

    Args:
        config: what was run.
        folder: where it was run.
        note: what a reader must know of the run; it becomes a column.

    Returns:
        The columns of COLUMNS. `seconds` adds the jobs' up; `wall_seconds` counts a time at which
        several of them ran once, and a pause not at all; `peak_mib` is of the largest job;
        `disk_mib` of what the step wrote. The last row, whose name and step are `all`, is the whole
        run, with all its files.

    Raises:
        ValueError: for a run that lacks the measurements of an experiment or benchmark.

    """
    results = folder / config.results_dir / config.name
    figures = folder / config.figures_dir / config.name
    jobs = measured_jobs(config, results / "benchmarks")
    datasets = {name: getattr(block, "dataset", "") for name, block in config.drawn().items()}
    if config.claims is not None:
        datasets[CLAIMS] = ""
    if missing := [name for name in datasets if name not in set(jobs["name"])]:
        raise ValueError(
            f"{results / 'benchmarks'} has no measurements of {', '.join(missing)}: "
            f"run the whole config first"
        )
    datasets |= {dataset: dataset for dataset in datasets.values() if dataset}
    rows = [
        {"name": name, "dataset": datasets[name], "step": step}
        | _cost(group, _files(config, folder, step, name))
        for (step, name), group in jobs.groupby(["step", "name"], sort=False)
        if name in datasets
    ]
    parts = (results, figures, folder / config.data_dir)
    files = {file for part in parts for file in part.rglob("*")}
    rows.append({"name": ALL, "dataset": "", "step": ALL} | _cost(jobs, files))
    machine = provenance(torch.device("cpu"))
    told = {key: machine[key] for key in ("device_name", "torch", "commit")}
    told |= {"python": platform.python_version(), "config": config.name, "note": note}
    return pd.DataFrame(rows).assign(**told)[list(COLUMNS)]


def measured_jobs(config: Config, folder: Path) -> pd.DataFrame:
    """Return what Snakemake measured, a row per job; a step of the whole run is of the claims.

    Of training only the jobs that the config has count: those of an earlier split don't.

    Args:
        config: of the run.
        folder: the measurements that Snakemake wrote.

    Returns:
        The columns `step`, `name`, `path`, and those of MEASURED, named above.

    """
    training = _training_jobs(config)
    rows = []
    for path in sorted(folder.rglob("*.tsv")):
        step, name, *job = (*path.relative_to(folder).with_suffix("").parts, CLAIMS)
        if step != "train" or "/".join(job[:-1]) in training.get(name, ()):
            last = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[-1]
            rows.append((step, name, path, *last[MEASURED]))
    jobs = pd.DataFrame(rows, columns=["step", "name", "path", *MEASURED])
    return jobs.astype(dict.fromkeys(MEASURED, float))


def _training_jobs(config: Config) -> dict[str, list[str]]:
    """Return the names of the jobs of each experiment and language model."""
    experiments = {name: [*job_specs(config, name)] for name in config.experiments}
    return experiments | {name: [*language_jobs(config, name)] for name in config.language_models}


def _files(config: Config, folder: Path, step: str, name: str) -> Iterable[Path]:
    """Return the files that a step wrote for an experiment, benchmark, dataset or the claims."""
    results = folder / config.results_dir / config.name
    figures = folder / config.figures_dir / config.name
    timed = results / "benchmarks"
    if step == "prepare":
        return (folder / config.data_dir).glob(f"{name}.*")
    if step == "train":
        jobs = [results / "jobs" / name / job for job in _training_jobs(config)[name]]
        return [file for job in jobs for file in job.glob("*")]
    if step == "collect":
        return (results / "tidy" / name).glob("*")
    if step == "bench":
        return [timed / f"{name}.csv"]
    if name == CLAIMS:
        return (figures if step == "draw" else results).glob(f"{CLAIMS}.*")
    block = config.drawn()[name]
    drawn = {
        file
        for stems, folders in (
            (block.expand("figures", name), (figures, figures / "benchmarks")),
            (block.expand("tables", name), (results / "tables", timed)),
        )
        for stem in stems
        for place in folders
        for file in place.glob(f"{stem}.*")
    }
    return drawn - {timed / f"{name}.csv"} | set((results / "notebooks").glob(f"{name}.*"))


def _cost(jobs: pd.DataFrame, files: Iterable[Path]) -> dict[str, Any]:
    ends = [path.stat().st_mtime for path in jobs["path"]]
    return {
        "jobs": len(jobs),
        "seconds": round(float(jobs["s"].sum()), 1),
        "wall_seconds": round(_covered(ends, jobs["s"].tolist()), 1),
        "cpu_seconds": round(float(jobs["cpu_time"].sum()), 1),
        "peak_mib": round(float(jobs["max_rss"].max()), 1),
        "disk_mib": round(sum(f.stat().st_size for f in files if f.is_file()) / MIB, 2),
    }


def _covered(ends: list[float], lengths: list[float]) -> float:
    """Return how long at least one of the jobs ran. A job's table is written when it ends."""
    covered, until = 0.0, float("-inf")
    for start, end in sorted((e - n, e) for e, n in zip(ends, lengths, strict=True)):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered
