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
from fastff.config.jobs import train_jobs
from fastff.config.load import Config

COLUMNS = (
    *("config", "name", "dataset", "step", "jobs", "seconds", "wall_seconds", "cpu_seconds"),
    *("peak_mib", "disk_mib", "device_name", "python", "torch", "commit", "note"),
)
ALL = "all"
CLAIMS = "claims"  # the ledger, of all experiments
MIB = 2**20


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
    data = folder / config.data_dir
    jobs = measured_jobs(config, results / "benchmarks")
    datasets = {name: getattr(block, "dataset", "") for name, block in config.drawn().items()}
    if config.claims is not None:
        datasets[CLAIMS] = ""
    required = tuple(datasets)
    datasets |= {dataset: dataset for dataset in datasets.values() if dataset}
    everything = [path for *_, path in jobs]
    jobs = [job for job in jobs if job[1] in datasets]
    found = {name for _, name, _ in jobs}
    if missing := [name for name in required if name not in found]:
        raise ValueError(
            f"{results / 'benchmarks'} has no measurements of {', '.join(missing)}: "
            f"run the whole config first"
        )
    machine = provenance(torch.device("cpu"))
    told = {"device_name": machine["device_name"], "python": platform.python_version()}
    told |= {"torch": machine["torch"], "commit": machine["commit"], "note": note}
    keys = dict.fromkeys((step, name) for step, name, _ in jobs)
    rows: list[dict[str, Any]] = []
    for step, name in keys:
        paths = [path for *key, path in jobs if tuple(key) == (step, name)]
        files = _files(config, folder, step, name)
        head = {"config": config.name, "name": name, "dataset": datasets[name]}
        rows.append(head | {"step": step} | _cost(paths, files) | told)
    files = {file for part in (results, figures, data) for file in part.rglob("*")}
    cost = _cost(everything, files)
    rows.append({"config": config.name, "name": ALL, "dataset": "", "step": ALL} | cost | told)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def measured_jobs(config: Config, folder: Path) -> list[tuple[str, str, Path]]:
    """Return step, name and file of each measured job; a step of the whole run is of the claims.

    Of training only the jobs that the config has count: those of an earlier split don't.

    Args:
        config: of the run.
        folder: the measurements that Snakemake wrote.

    """
    training = {name: train_jobs(config, name) for name in config.experiments}
    jobs = []
    for path in sorted(folder.rglob("*.tsv")):
        step, name, *job = (*path.relative_to(folder).with_suffix("").parts, CLAIMS)
        if step == "train" and "/".join(job[:-1]) not in training.get(name, ()):
            continue
        jobs.append((step, name, path))
    return jobs


def _files(config: Config, folder: Path, step: str, name: str) -> Iterable[Path]:
    """Return the files that a step wrote for an experiment, benchmark, dataset or the claims."""
    results = folder / config.results_dir / config.name
    figures = folder / config.figures_dir / config.name
    if step == "prepare":
        return (folder / config.data_dir).glob(f"{name}.*")
    if step == "train":
        jobs = [results / "jobs" / name / job for job in train_jobs(config, name)]
        return [file for job in jobs for file in job.glob("*")]
    if step == "collect":
        return (results / "tidy" / name).glob("*")
    if name == CLAIMS:
        return (figures if step == "draw" else results).glob(f"{CLAIMS}.*")
    timed = results / "benchmarks"
    if step == "bench":
        return [timed / f"{name}.csv"]
    block = config.drawn()[name]
    places = {
        "figures": (figures, figures / "benchmarks"),
        "tables": (results / "tables", timed),
    }
    drawn = {
        file
        for kind, folders in places.items()
        for stem in block.expand("figures" if kind == "figures" else "tables", name)
        for place in folders
        for file in place.glob(f"{stem}.*")
    }
    return drawn - {timed / f"{name}.csv"} | set((results / "notebooks").glob(f"{name}.*"))


def job_times(paths: Iterable[Path]) -> pd.DataFrame:
    """Return what Snakemake measured of jobs, a row each, with the columns named above."""
    tables = [pd.read_csv(path, sep="\t", na_values=["-", "NA"]) for path in paths]
    return pd.concat([table.tail(1) for table in tables], ignore_index=True)


def _cost(paths: list[Path], files: Iterable[Path]) -> dict[str, Any]:
    jobs = job_times(paths)
    ends = [path.stat().st_mtime for path in paths]
    return {
        "jobs": len(paths),
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
