"""The plan of a config: every block's runs, jobs, hours, disk and memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from fastff.artifact.costs import CLAIMS, MIB
from fastff.config.load import Config
from fastff.plan.demands import demands
from fastff.plan.schedule import Job, wall_seconds
from fastff.plan.sources import Basis
from fastff.plan.training import together

TOTAL = "total"
HOUR = 3600
COLUMNS = (
    *("name", "dataset", "runs", "jobs", "gpu_hours", "cpu_hours", "longest_job_minutes"),
    *("disk_mib", "peak_mib", "gpu_peak_mib", "not_measured"),
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


@dataclass
class _Block:
    """A row of the plan while it is filled."""

    name: str
    dataset: str = ""
    runs: int = 0
    jobs: list[Job] = field(default_factory=list)
    disk_mib: float = 0.0
    peak_mib: float = 0.0
    gpu_peak_mib: float = 0.0
    not_measured: list[str] = field(default_factory=list)

    def add(self, step: str, cost: pd.Series, is_measured: bool, **job: int) -> None:
        """Add one job of a step beside training."""
        self.jobs.append(Job(step, float(cost["seconds"]), **job))
        self.disk_mib += float(cost["disk_mib"])
        self.peak_mib = max(self.peak_mib, float(cost["peak_mib"]))
        if not is_measured:
            self.not_measured.append(step)

    def row(self) -> tuple[object, ...]:
        gpu = sum(job.seconds for job in self.jobs if job.gpus)
        cpu = sum(job.seconds * job.cores for job in self.jobs)
        longest = max((job.seconds for job in self.jobs), default=0.0)
        return (
            *(self.name, self.dataset, self.runs, len(self.jobs), gpu / HOUR, cpu / HOUR),
            *(longest / 60, self.disk_mib, self.peak_mib, self.gpu_peak_mib),
            ", ".join(self.not_measured),
        )


def make_plan(config: Config, device: str, measured: Basis, *, cores: int, gpus: int = 1) -> Plan:
    """Return the plan of a config.

    Args:
        config: what would be run.
        device: where it would train, "cpu" or "cuda".
        measured: for this device.
        cores: how many cores jobs may hold at once.
        gpus: likewise.

    """
    blocks = list(_blocks(config, device, measured, cores))
    table = pd.DataFrame([block.row() for block in blocks], columns=list(COLUMNS))
    total = dict.fromkeys(COLUMNS, "") | {"name": TOTAL}
    for key in ("runs", "jobs", "gpu_hours", "cpu_hours", "disk_mib"):
        total[key] = table[key].sum()
    for key in ("longest_job_minutes", "peak_mib", "gpu_peak_mib"):
        total[key] = table[key].max()
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    seconds = wall_seconds([block.jobs for block in blocks], cores=cores, gpus=gpus)
    return Plan(table, seconds)


def _blocks(config: Config, device: str, measured: Basis, cores: int) -> Iterator[_Block]:
    steps = measured.steps
    datasets = [block.dataset for block in config.experiments.values()]
    datasets += [block.dataset for block in config.trained_benchmarks().values()]
    for dataset in dict.fromkeys(datasets):
        row = _Block(dataset, dataset)
        row.add("prepare", *steps.preparing(dataset), cores=1)
        yield row
    for name, block in config.experiments.items():
        row = _Block(name, block.dataset)
        if config.tables_from is None:
            _train(row, config, name, device, measured)
        row.add("draw", *steps.drawing(block.notebook or name), cores=1)
        yield row
    for name, benchmark in config.benchmarks.items():
        row = _Block(name, getattr(benchmark, "dataset", ""))
        if config.tables_from is None:
            cost = steps.timing(name, benchmark, device)
            row.add("bench", *cost, cores=cores, gpus=int(device == "cuda"))
        row.add("draw", *steps.drawing(benchmark.notebook or name), cores=1)
        yield row
    if config.claims is not None:
        row = _Block(CLAIMS)
        row.add("ledger", *steps.ledger(), cores=1)
        yield row


def _train(row: _Block, config: Config, name: str, device: str, measured: Basis) -> None:
    """Add the training jobs of an experiment, and the joining of their tables."""
    training, host, gpu = measured.training, measured.host, measured.gpu
    # a reference that one process trained doesn't tell how long processes take to start
    start = 0.0 if training.start_seconds else host.start_seconds
    jobs = demands(config, name, device)
    for demand in jobs.values():
        seconds = start + training.seconds_of(demand)
        row.jobs.append(Job("train", seconds, cores=config.threads, gpus=int(gpu is not None)))
        row.runs += demand.runs
        on_host = host.peak_of(demand, elsewhere=gpu is not None)
        row.peak_mib = max(row.peak_mib, on_host / MIB)
        if gpu is not None:
            row.gpu_peak_mib = max(row.gpu_peak_mib, gpu.peak_of(demand) / MIB)
    whole = together(jobs.values())
    joined = measured.steps.collecting(whole.rows())
    # the tables of the jobs, and what is kept beside them
    row.disk_mib += joined["disk_mib"] * (1 + measured.steps.stored_share)
    row.add("collect", joined, True, cores=1)
    row.not_measured += training.beyond(config.experiments[name], whole)
