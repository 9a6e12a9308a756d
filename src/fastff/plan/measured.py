"""What was measured on a machine, and what it says of experiments that were not."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fastff.artifact.costs import MIB
from fastff.config.experiment import Benchmark, Experiment
from fastff.config.load import Config, load_config
from fastff.plan.demands import demands
from fastff.plan.training import Demand, fit, left_out, together

FAR = 2.0  # times as large as any that was measured: beyond it


@dataclass(frozen=True)
class Training:
    """Measured training: what each experiment asked for, the seconds, and the peak bytes.

    Attributes:
        machine: what it was measured on.
        names: of the experiments, with their config's.
        blocks: what the config said of them.
        largest: of each experiment's jobs, what the one asked for that takes the most memory.

    """

    machine: str
    names: tuple[str, ...]
    blocks: tuple[Experiment, ...]
    asked: tuple[Demand, ...]
    seconds: tuple[float, ...]
    largest: tuple[Demand, ...]
    peak_bytes: tuple[float, ...]

    @cached_property
    def _terms(self) -> list[list[float]]:
        return [demand.time_terms() for demand in self.asked]

    @cached_property
    def _memory_terms(self) -> list[list[float]]:
        return [demand.memory_terms() for demand in self.largest]

    @cached_property
    def rates(self) -> np.ndarray:
        """Seconds per term of `Demand.time_terms`."""
        return fit(self._terms, self.seconds)

    @cached_property
    def memory_rates(self) -> np.ndarray:
        """Bytes per term of `Demand.memory_terms`."""
        measured = zip(self.peak_bytes, self.largest, strict=True)
        return fit(self._memory_terms, [peak - demand.data_bytes for peak, demand in measured])

    def seconds_of(self, demand: Demand) -> float:
        """Return how long training jobs take, one after the other."""
        return float(np.dot(demand.time_terms(), self.rates))

    @property
    def start_seconds(self) -> float:
        """How long a job takes before it trains."""
        return float(self.rates[0])

    def peak_of(self, demand: Demand, *, elsewhere: bool = False) -> float:
        """Return the bytes that a job holds at most.

        With `elsewhere`, its stacks are on another device; the data pass through this one.
        """
        process, stacks, rows = demand.memory_terms()
        terms = [process, 0 if elsewhere else stacks, rows]
        return float(np.dot(terms, self.memory_rates)) + demand.data_bytes

    def beyond(self, block: Experiment, demand: Demand) -> list[str]:
        """Return what of an experiment was not measured here: dataset, variants, sizes."""
        found = []
        if block.dataset not in {measured.dataset for measured in self.blocks}:
            found.append(f"dataset {block.dataset}")
        models = {variant.model for measured in self.blocks for variant in measured.variants}
        if others := [variant.name for variant in block.variants if variant.model not in models]:
            found.append(f"variants {', '.join(others)}")
        if (times := _largest_stack([demand]) / _largest_stack(self.asked)) > FAR:
            found.append(f"stacks {times:.0f} times as large")
        return found

    def errors(self) -> np.ndarray:
        """Return each experiment's relative error of time, by rates of all the others."""
        return left_out(self._terms, self.seconds)


def from_costs(costs: pd.DataFrame, configs: Mapping[str, Config], device: str) -> Training:
    """Return the training of which a table of `fastff costs` tells, all its configs together.

    Args:
        costs: the table.
        configs: the configs that the table names, by name, as they were run.
        device: where the training was, "cpu" or "cuda".

    """
    rows = costs[costs["step"] == "train"]
    names, blocks, asked, largest = [], [], [], []
    for row in rows.itertuples():
        config = configs[row.config]
        jobs = demands(config, row.name, device)
        whole = together(jobs.values())
        names.append(f"{row.config} {row.name}")
        blocks.append(config.experiments[row.name])
        asked.append(replace(whole, jobs=int(row.jobs)))
        largest.append(max(jobs.values(), key=lambda job: sum(job.memory_terms()[1:])))
    return Training(
        machine=str(rows["device_name"].iloc[0]),
        names=tuple(names),
        blocks=tuple(blocks),
        asked=tuple(asked),
        seconds=tuple(rows["seconds"]),
        largest=tuple(largest),
        peak_bytes=tuple(rows["peak_mib"] * MIB),
    )


def from_provenance(path: Path, root: Path) -> Training:
    """Return the training of a reference, from its provenance; one process did all of it.

    Args:
        path: the provenance.json.
        root: the repository, to which the command that is noted in it was relative.

    """
    record, config = _reference(path, root)
    made = {name: cost for name, cost in record["made"].items() if name in config.experiments}
    asked = tuple(
        replace(together(demands(config, name, "cuda").values()), jobs=0) for name in made
    )
    return Training(
        machine=record["device_name"],
        names=tuple(f"{config.name} {name}" for name in made),
        blocks=tuple(config.experiments[name] for name in made),
        asked=asked,
        seconds=tuple(cost["seconds"] for cost in made.values()),
        largest=asked,
        peak_bytes=tuple(cost["peak_bytes"] for cost in made.values()),
    )


def timed_benchmarks(path: Path, root: Path) -> dict[str, tuple[Benchmark, float]]:
    """Return the benchmarks that a reference timed, by name, and the seconds that it took."""
    record, config = _reference(path, root)
    return {
        name: (config.benchmarks[name], cost["seconds"])
        for name, cost in record["made"].items()
        if name in config.benchmarks
    }


def _reference(path: Path, root: Path) -> tuple[dict[str, Any], Config]:
    """Return a reference's provenance, and its config as it was run."""
    record = json.loads(path.read_text(encoding="utf-8"))
    words = shlex.split(record["command"])
    config = load_config(root / words[words.index("--configfile") + 1])
    return record, config.model_copy(update={"stacks_at_once": record["stacks_at_once"]})


def _largest_stack(asked: Iterable[Demand]) -> float:
    return max(stack.peak_bytes for demand in asked for stack in demand.stacks)
