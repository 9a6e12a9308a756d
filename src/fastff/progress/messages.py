"""What is said of a job's runs, on its line of progress and in its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fastff.config.job import Run, TrainSpec
from fastff.config.model import Point

if TYPE_CHECKING:
    from fastff.train.results import RunResult


def say_point(point: Point) -> str:
    """Return "depth 2, hidden 4", with the region leak where there is one."""
    text = f"depth {point.depth}, hidden {point.hidden_features}"
    return text + (f", region leak {point.region_leak:g}" if point.region_leak else "")


def failures(specs: Sequence[TrainSpec], jobs: Sequence[Mapping[Run, RunResult]]) -> list[str]:
    """Return a line for each run whose loss became NaN or infinite, from each job's results."""
    lines = []
    for spec, results in zip(specs, jobs, strict=True):
        for run, result in results.items():
            if (failure := result.failure) is None:
                continue
            last = "none" if failure.last_loss is None else f"{failure.last_loss:.4g}"
            lines.append(
                f"{spec.experiment} {spec.variant.name}, {say_point(run.shape)}, seed {run.seed}: "
                f"the loss is no finite number in epoch {failure.epoch}; the last that was: {last}"
            )
    return lines
