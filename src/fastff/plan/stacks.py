"""What a stack of runs asks of a device, and what its runs leave behind."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F

from fastff.config.job import TrainSpec
from fastff.config.model import ModelSpec
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.plan.counting import Work, count
from fastff.train.build import Sizes, build_model, stack
from fastff.train.evaluate import CHUNKS
from fastff.train.recording import N_PROJECTED, N_WINDOWS
from fastff.train.scheduler import bytes_per_run
from fastff.train.sizes import runs

FLOAT = 4  # bytes
PER_UPDATE = 7  # floats of a parameter: itself, gradient and two moments read, three written


@dataclass(frozen=True)
class StackCost:
    """A stack of runs, as the engine trains it.

    Attributes:
        runs: trained together.
        steps: the work of all optimiser steps.
        looks: the work of all evaluations and recordings.
        rows: of the tidy tables, by table.
        peak_bytes: what parameters, optimiser, batches and results take at most.

    """

    runs: int
    steps: Work
    looks: Work
    rows: dict[str, int]
    peak_bytes: float


def stack_costs(
    spec: TrainSpec, data: Dataset, device: str, runs_per_stack: int
) -> Iterator[StackCost]:
    """Yield the stacks of a job, in order.

    Early stopping is not foreseen: all epochs count.

    Args:
        spec: the job.
        data: its sizes.
        device: "cpu" or "cuda", where it would be trained.
        runs_per_stack: how many runs are trained as one computation, at most.

    """
    job_runs = runs(spec, data)
    for model, n_seeds in Counter(run.model for run in job_runs).items():
        for start in range(0, n_seeds, runs_per_stack):
            yield _stack_cost(spec, model, min(runs_per_stack, n_seeds - start), data, device)


def _stack_cost(
    spec: TrainSpec, model_spec: ModelSpec, n_runs: int, data: Dataset, device: str
) -> StackCost:
    recipe, chunk = spec.recipe, CHUNKS[device]
    n_all, n_test = len(data.train_labels), len(data.test_labels)
    n_train = recipe.n_train(n_all, data.name)
    n_looked_at = recipe.validation_samples or n_test
    n_steps = recipe.epochs * (n_train // recipe.batch_size)
    sizes = Sizes.of(data)
    model = _model(model_spec, sizes)
    watched = "gradients" in spec.record
    step, look = _works(model_spec, sizes, recipe.batch_size, chunk, watched)
    n_snapshots = _n_snapshots(spec)
    chunks = (recipe.epochs + n_snapshots) * math.ceil(n_looked_at / chunk)
    chunks += math.ceil(n_train / chunk) + math.ceil(n_test / chunk)
    rows = _rows(spec, model, data, n_steps, n_snapshots, n_looked_at)
    return StackCost(
        runs=n_runs,
        steps=step.side_by_side(n_runs) * n_steps,
        looks=look.side_by_side(n_runs) * chunks,
        rows={table: n * n_runs for table, n in rows.items()},
        peak_bytes=n_runs * bytes_per_run(model, data, recipe.batch_size + chunk),
    )


@lru_cache(maxsize=4096)
def _model(spec: ModelSpec, sizes: Sizes) -> Layer:
    with torch.device("meta"):
        return build_model(spec, sizes)


@lru_cache(maxsize=4096)
def _works(
    spec: ModelSpec, sizes: Sizes, batch_size: int, chunk: int, watched: bool
) -> tuple[Work, Work]:
    """Return the work of a run's optimiser step, and of its evaluation of a chunk of samples.

    `watched` is whether gradients are recorded.
    """
    with torch.device("meta"):
        model = stack([_model(spec, sizes)])  # as a stack of one run
        x = torch.empty(1, batch_size, sizes.in_features)
        y = torch.empty(batch_size, dtype=torch.int64)
        samples = torch.empty(chunk, sizes.in_features).unsqueeze(0)

    def step() -> None:
        outputs, own_loss = model.train().soft_with_loss(x)
        loss = F.cross_entropy(outputs.flatten(0, 1), y, reduction="none")
        loss = loss.view(1, batch_size).mean(-1)
        (loss if own_loss is None else loss + own_loss).sum().backward()

    @torch.no_grad()
    def look() -> None:
        outputs, _ = model.eval().soft_and_hard(samples)
        target = torch.empty(outputs.shape[:-1], dtype=torch.int64, device="meta").flatten()
        F.cross_entropy(outputs.flatten(0, -2), target, reduction="none")

    parameters = list(model.parameters())
    n_parameters = sum(parameter.numel() for parameter in parameters)
    update = Work(calls=len(parameters), bytes=FLOAT * PER_UPDATE * n_parameters)
    gather = Work(calls=1, bytes=2 * FLOAT * x.numel())
    record = Work()
    if watched:
        read = sum(parameter.numel() for parameter, _ in model.units().values())
        record = Work(calls=3 * len(model.units()), bytes=2 * FLOAT * read)
    return count(step) + update + gather + record, count(look)


def _n_snapshots(spec: TrainSpec) -> int:
    """Return how often a run is looked at for what is recorded, after its last epoch included."""
    if not set(spec.record) - {"gradients"}:
        return 1
    return 2 + (spec.recipe.epochs - 1) // spec.record_every


def _rows(
    spec: TrainSpec, model: Layer, data: Dataset, n_steps: int, n_snapshots: int, n_looked_at: int
) -> dict[str, int]:
    """Return how many rows of each tidy table a run has."""
    counted = n_snapshots if "expert_counts" in spec.record else 1
    found = {
        "runs": 1,
        "epochs": spec.recipe.epochs,
        "expert_counts": counted * model.n_trees * model.n_experts * data.n_classes,
    }
    if "gradients" in spec.record:
        units = sum(parameter.shape[unit] for parameter, unit in model.units().values())
        found["gradients"] = min(N_WINDOWS, n_steps) * units
    if "nodes" in spec.record and (weights := model.node_weights()) is not None:
        found["nodes"] = n_snapshots * math.prod(weights[0].shape[:-1])
    if "projections" in spec.record:
        found["projections"] = n_snapshots * min(N_PROJECTED, n_looked_at)
    return found
