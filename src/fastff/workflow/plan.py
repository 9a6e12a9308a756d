"""What a run of a config takes, before anything starts: a table, and the time on the clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tabulate import tabulate

from fastff.artifact.costs import CLAIMS
from fastff.config.jobs import language_jobs
from fastff.config.load import Config
from fastff.workflow.measured import Costs, Work, training_work

STAGES = ("prepare", "train", "collect", "draw")
TOTAL = "total"
HOUR = 3600  # seconds
# Columns of the plan, and their headings on a terminal.
COLUMNS = {
    "name": "name",
    "dataset": "dataset",
    "runs": "runs",
    "jobs": "jobs",
    "gpu_hours": "GPU h",
    "cpu_hours": "CPU h",
    "longest_job_minutes": "longest job, min",
    "disk_mib": "disk MiB",
    "peak_mib": "memory MiB",
    "gpu_peak_mib": "GPU MiB",
    "not_measured": "beyond what was measured",
}
# What a job has where nothing is said of it.
UNLESS_SAID = {
    **{"dataset": "", "runs": 0, "cores": 1, "gpus": 0},
    **{"disk_mib": 0.0, "gpu_peak_mib": 0.0, "not_measured": ""},
}
# How columns follow from those of the jobs of a block; seconds that nobody knows make NaN.
SUMS = ("runs", "jobs", "gpu_hours", "cpu_hours", "disk_mib")
LARGEST = ("longest_job_minutes", "peak_mib", "gpu_peak_mib")


@dataclass(frozen=True)
class Plan:
    """What a run of a config takes.

    Attributes:
        table: a row per dataset, experiment and benchmark, then the ledger and the total, with
            COLUMNS. `cpu_hours` are of cores that jobs hold, `peak_mib` of the largest job, and
            `not_measured` says what the estimate had to go beyond.
        seconds: on the clock, with so many cores and GPUs.

    """

    table: pd.DataFrame
    seconds: float


def make_plan(config: Config, device: str, costs: Costs, *, cores: int, gpus: int = 1) -> Plan:
    """Return the plan of a config.

    Args:
        config: what would be run.
        device: where it would train, "cpu" or "cuda".
        costs: what was measured; training on this device.
        cores: how many cores jobs may hold at once.
        gpus: likewise.

    """
    jobs = planned_jobs(config, device, costs, cores)
    hours = jobs["seconds"] / HOUR
    jobs = jobs.assign(
        jobs=1,
        gpu_hours=hours.where(jobs["gpus"] > 0, 0.0),
        cpu_hours=hours * jobs["cores"],
        longest_job_minutes=hours * 60,
    )
    by: dict[str, Any] = {key: lambda values: values.sum(skipna=False) for key in SUMS}
    by |= dict.fromkeys(LARGEST, "max")
    by |= {"dataset": "first", "not_measured": lambda texts: ", ".join(filter(None, texts))}
    table = jobs.groupby("name", sort=False).agg(by).reset_index()[[*COLUMNS]]
    total = {"name": TOTAL, "dataset": "", "not_measured": ""}
    total |= table[[*SUMS]].sum().to_dict() | table[[*LARGEST]].max().to_dict()
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    table = table.astype({"runs": int, "jobs": int})
    return Plan(table, wall_seconds(jobs, cores=cores, gpus=gpus))


def planned_jobs(config: Config, device: str, costs: Costs, cores: int) -> pd.DataFrame:
    """Return a row per job of the workflow: what it takes, and what it holds meanwhile."""
    columns = ["name", "step", "seconds", "peak_mib", *UNLESS_SAID]
    jobs = pd.DataFrame(list(_jobs(config, device, costs, cores)), columns=columns)
    return jobs.fillna(UNLESS_SAID)


def _jobs(config: Config, device: str, costs: Costs, cores: int) -> Iterator[dict[str, Any]]:
    def job(block: str, step: str, cost: pd.Series, measured: bool, **more: Any) -> dict[str, Any]:
        told = {"name": block, "step": step, "not_measured": "" if measured else step}
        return {**told, **cost, **more}

    datasets = [block.dataset for block in config.experiments.values()]
    datasets += [model.text for model in config.language_models.values()]
    datasets += [block.dataset for block in config.trained_benchmarks().values()]
    for dataset in dict.fromkeys(datasets):
        yield job(dataset, "prepare", *costs.of("prepare", dataset), dataset=dataset)
    for name, experiment in config.experiments.items():
        if not config.tables_from:
            yield from _training_jobs(config, name, device, costs)
        drawn = costs.of("draw", experiment.notebook or name)
        yield job(name, "draw", *drawn, dataset=experiment.dataset)
    for name, model in config.language_models.items():
        if not config.tables_from:
            cost, measured = costs.language(name, model, device)
            parts = language_jobs(config, name)
            share = cost.where(cost.index != "seconds", cost / len(parts))
            for specs in parts.values():
                n_runs = sum(len(spec.seeds) for spec in specs)
                more: dict[str, Any] = {"cores": config.threads, "gpus": int(device == "cuda")}
                more |= {"runs": n_runs, "dataset": model.text}
                yield job(name, "train", share, measured, **more)
            yield job(name, "collect", *costs.of("collect", name), dataset=model.text)
        yield job(name, "draw", *costs.of("draw", model.notebook or name), dataset=model.text)
    for name, benchmark in config.benchmarks.items():
        dataset = getattr(benchmark, "dataset", "")
        if not config.tables_from:
            held: dict[str, Any] = {"cores": cores, "gpus": int(device == "cuda")}
            yield job(name, "bench", *costs.timing(name, benchmark, device), **held)
        yield job(name, "draw", *costs.of("draw", benchmark.notebook or name), dataset=dataset)
    if config.claims is not None:
        yield job(CLAIMS, "ledger", *costs.of("ledger", CLAIMS))
        yield job(CLAIMS, "draw", *costs.of("draw", CLAIMS))


def _training_jobs(
    config: Config, name: str, device: str, costs: Costs
) -> Iterator[dict[str, Any]]:
    """Yield the training jobs of an experiment, and the joining of their tables."""
    block = config.experiments[name]
    works = training_work(config, name, device)
    whole = sum(works, Work())
    like, on_host = costs.training.like(name, block), costs.host.like(name, block)
    own = like.notebook == (block.notebook or name) and like.block.dataset == block.dataset
    source = "" if own else f"train (as {like.name} on {like.block.dataset})"
    held: dict[str, Any] = {"cores": config.threads, "peak_mib": on_host.memory(whole)}
    if costs.gpu is not None:
        held |= {"gpus": 1, "gpu_peak_mib": costs.gpu.like(name, block).memory(whole)}
    # one process trained the GPU's reference, which doesn't tell how long processes take to start
    start = costs.host.rates[0] if costs.training is costs.gpu else 0.0
    for place, work in enumerate(works):
        seconds = start + costs.training.seconds(work, like)
        told = {"name": name, "step": "train", "dataset": block.dataset, "runs": work.runs}
        yield {**told, "seconds": seconds, "not_measured": "" if place else source, **held}
    collected = costs.collecting(on_host, whole)
    yield {"name": name, "step": "collect", "dataset": block.dataset, **collected}


def wall_seconds(jobs: pd.DataFrame, *, cores: int, gpus: int) -> float:
    """Return how long jobs take together, as the workflow would start them.

    Stage by stage: all datasets, all training, all tables, all figures; within a stage the longest
    jobs first, each on the first free place. Benchmarks and the ledger come one after the other.
    Jobs of which nothing is known, with NaN seconds, don't count.

    Args:
        jobs: with step, seconds, cores and gpus.
        cores: of the machine, or that a cluster gives at once.
        gpus: likewise.

    """
    jobs = jobs.dropna(subset="seconds")
    total = float(jobs.loc[~jobs["step"].isin(STAGES), "seconds"].sum())
    for _, stage in jobs[jobs["step"].isin(STAGES)].groupby("step"):
        places = max(1, cores // int(stage["cores"].max()))
        if stage["gpus"].any():
            places = min(places, gpus)
        ends = [0.0] * min(places, len(stage))
        for seconds in stage["seconds"].sort_values(ascending=False):
            heapq.heapreplace(ends, ends[0] + seconds)
        total += max(ends)
    return total


def report(plan: Plan, costs: Costs, device: str, *, cores: int, gpus: int) -> str:
    """Return the plan's table, the time on the clock, and how good the estimate is."""
    columns = [key for key in COLUMNS if device == "cuda" or not key.startswith("gpu_")]
    rows = [
        [_shown(key, value) for key, value in zip(columns, row, strict=True)]
        for row in plan.table[columns].itertuples(index=False)
    ]
    where = f"{cores} cores" + (f" and {gpus} GPUs" if device == "cuda" else "")
    seconds = plan.seconds
    time = f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
    errors = np.abs(costs.training.errors())
    return (
        f"{tabulate(rows, [COLUMNS[key] for key in columns], disable_numparse=True)}\n\n"
        f"On {where}: about {time}. From costs of {costs.training.machine}; training time of each "
        f"of its {len(errors)} experiments, predicted from the others: {np.median(errors):.0%} off "
        f"in the median, {errors.max():.0%} at most.\n"
    )


def _shown(key: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return "?"
    digits = 2 if key.endswith("hours") else 1 if key.endswith("minutes") else 0
    return f"{value:,.{digits}f}"
