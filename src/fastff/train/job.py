"""One training job: a variant over its grid and seeds, stack by stack."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from fastff.data.dataset import Dataset
from fastff.spec import Shape, TrainSpec
from fastff.train.loop import train_stack
from fastff.train.progress import Progress
from fastff.train.results import RunResult
from fastff.train.store import RunStore

log = logging.getLogger(__name__)
Results = dict[tuple[Shape, int], RunResult]


def train(
    spec: TrainSpec, data: Dataset, *, runs_per_stack: int, store: RunStore | None = None
) -> Results:
    """Return the results of a job's runs by shape and seed.

    Args:
        spec: the job.
        data: on the device to train on.
        runs_per_stack: how many runs are trained at once; the results don't depend on it.
        store: finished runs are taken from it, and new ones put there.

    """
    results: Results = {}
    if store is not None:
        for shape in spec.grid.shapes():
            for seed in spec.seeds:
                if (found := store.get(shape, seed)) is not None:
                    results[shape, seed] = found
    stacks = list(_stacks(spec, results, runs_per_stack))
    n_missing = sum(len(seeds) for _, seeds in stacks)
    log.info("%d runs: %d stored, %d to train", len(results) + n_missing, len(results), n_missing)

    total = n_missing * spec.recipe.epochs
    with Progress(f"{spec.experiment} {spec.variant.name}", total) as progress:
        for shape, seeds in stacks:

            def on_epoch(
                epoch: int, loss: float, shape: Shape = shape, n_runs: int = len(seeds)
            ) -> None:
                where = f"depth {shape.depth}, hidden {shape.hidden_features}"
                progress.advance(n_runs, f"{where}, epoch {epoch}, loss {loss:.4f}")

            trained = train_stack(
                spec.variant,
                shape,
                seeds,
                spec.recipe,
                data,
                record=spec.record,
                on_epoch=on_epoch,
            )
            for seed, result in zip(seeds, trained, strict=True):
                results[shape, seed] = result
                if store is not None:
                    store.put(shape, seed, result)
    return results


def _stacks(
    spec: TrainSpec, done: Results, runs_per_stack: int
) -> Iterator[tuple[Shape, tuple[int, ...]]]:
    """Yield shapes and the seeds that are not done yet, at most `runs_per_stack` at once."""
    for shape in spec.grid.shapes():
        missing = [seed for seed in spec.seeds if (shape, seed) not in done]
        for start in range(0, len(missing), runs_per_stack):
            yield shape, tuple(missing[start : start + runs_per_stack])
