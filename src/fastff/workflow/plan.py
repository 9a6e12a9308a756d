"""What a run of a config takes, before anything starts: a table, and the time on the clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from tabulate import tabulate

from fastff.artifact.costs import CLAIMS, MIB
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


class Job(NamedTuple):
    """A process of the workflow: its step, how long it takes alone, and what it holds meanwhile."""

    step: str
    seconds: float
    cores: int = 1
    gpus: int = 0


def wall_seconds(blocks: Sequence[Sequence[Job]], *, cores: int, gpus: int) -> float:
    """Return how long the jobs of all blocks take, as the workflow would start them.

    Stage by stage: all datasets, all training, all tables, all figures; within a stage the longest
    jobs first, each on the first free place. Benchmarks have the machine to themselves.

    Jobs of which nothing is known, with NaN seconds, don't count.

    Args:
        blocks: the jobs of each dataset, experiment and benchmark.
        cores: of the machine, or that a cluster gives at once.
        gpus: likewise.

    """
    jobs = [job for block in blocks for job in block if not math.isnan(job.seconds)]
    total = sum(job.seconds for job in jobs if job.step not in STAGES)
    for stage in STAGES:
        together = [job for job in jobs if job.step == stage]
        places = max(1, cores // max((job.cores for job in together), default=1))
        if any(job.gpus for job in together):
            places = min(places, gpus)
        ends = [0.0] * places
        for job in sorted(together, key=lambda job: -job.seconds):
            heapq.heapreplace(ends, ends[0] + job.seconds)
        total += max(ends)
    return total


@dataclass
class Block:
    """A row of the plan while it is filled: a dataset, an experiment, a benchmark or the ledger."""

    name: str
    dataset: str = ""
    runs: int = 0
    jobs: list[Job] = field(default_factory=list)
    disk_mib: float = 0.0
    peak_mib: float = 0.0
    gpu_peak_mib: float = 0.0
    not_measured: list[str] = field(default_factory=list)

    def add(self, step: str, cost: pd.Series, is_measured: bool, **job: int) -> None:
        """Add one job of a step beside training, with its MEASURES."""
        self.jobs.append(Job(step, float(cost["seconds"]), **job))
        self.disk_mib += float(cost["disk_mib"])
        self.peak_mib = max(self.peak_mib, float(cost["peak_mib"]))
        if not is_measured:
            self.not_measured.append(step)

    def row(self) -> tuple[object, ...]:
        """Return the values of COLUMNS."""
        gpu = sum(job.seconds for job in self.jobs if job.gpus)
        cpu = sum(job.seconds * job.cores for job in self.jobs)
        longest = max((job.seconds for job in self.jobs), default=0.0)
        return (
            *(self.name, self.dataset, self.runs, len(self.jobs), gpu / HOUR, cpu / HOUR),
            *(longest / 60, self.disk_mib, self.peak_mib, self.gpu_peak_mib),
            ", ".join(self.not_measured),
        )


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
    blocks = list(_blocks(config, device, costs, cores))
    table = pd.DataFrame([block.row() for block in blocks], columns=list(COLUMNS))
    total = dict.fromkeys(COLUMNS, "") | {"name": TOTAL}
    for key in ("runs", "jobs", "gpu_hours", "cpu_hours", "disk_mib"):
        total[key] = table[key].sum()
    for key in ("longest_job_minutes", "peak_mib", "gpu_peak_mib"):
        total[key] = table[key].max()
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    return Plan(table, wall_seconds([block.jobs for block in blocks], cores=cores, gpus=gpus))


def _blocks(config: Config, device: str, costs: Costs, cores: int) -> Iterator[Block]:
    datasets = [block.dataset for block in config.experiments.values()]
    datasets += [block.dataset for block in config.trained_benchmarks().values()]
    for dataset in dict.fromkeys(datasets):
        row = Block(dataset, dataset)
        row.add("prepare", *costs.of("prepare", dataset))
        yield row
    for name, block in config.experiments.items():
        row = Block(name, block.dataset)
        if config.tables_from is None:
            _train(row, config, device, costs)
        row.add("draw", *costs.of("draw", block.notebook or name))
        yield row
    for name, benchmark in config.benchmarks.items():
        row = Block(name, getattr(benchmark, "dataset", ""))
        if config.tables_from is None:
            cost = costs.timing(name, benchmark, device)
            row.add("bench", *cost, cores=cores, gpus=int(device == "cuda"))
        row.add("draw", *costs.of("draw", benchmark.notebook or name))
        yield row
    if config.claims is not None:
        row = Block(CLAIMS)
        row.add("ledger", *costs.of("ledger", CLAIMS))
        row.add("draw", *costs.of("draw", CLAIMS))
        yield row


def _train(row: Block, config: Config, device: str, costs: Costs) -> None:
    """Add the training jobs of an experiment, and the joining of their tables."""
    block, training, host = config.experiments[row.name], costs.training, costs.host
    jobs = training_work(config, row.name, device)
    whole = sum(jobs, Work())
    like, on_host = (one.most_similar(row.name, block) for one in (training, host))
    # one process trained the reference, which doesn't tell how long processes take to start
    start = 0.0 if training is host else float(host.rates[0])
    for work in jobs:
        seconds = start + training.seconds(work, like)
        row.jobs.append(Job("train", seconds, config.threads, int(device == "cuda")))
    row.runs = whole.runs
    row.peak_mib = on_host.peak_mib + (whole.n_bytes - on_host.work.n_bytes) / MIB
    if device == "cuda":
        row.gpu_peak_mib = like.peak_mib + (whole.n_bytes - like.work.n_bytes) / MIB
    row.add("collect", costs.collecting(on_host, whole), True)
    if like.notebook != (block.notebook or row.name) or like.block.dataset != block.dataset:
        row.not_measured.append(f"train (as {like.name} on {like.block.dataset})")


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
