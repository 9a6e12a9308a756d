"""One training job: a variant over its grid and seeds, stack by stack."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from fastff.data.dataset import Dataset
from fastff.spec import Point, TrainSpec
from fastff.train.loop import train_stack
from fastff.train.progress import Progress
from fastff.train.results import RunResult
from fastff.train.sizes import points
from fastff.train.store import RunStore

log = logging.getLogger(__name__)
Results = dict[tuple[Point, int], RunResult]


def train(
    spec: TrainSpec, data: Dataset, *, runs_per_stack: int, store: RunStore | None = None
) -> Results:
    """Return the results of a job's runs by point and seed, in this order.

    Args:
        spec: the job.
        data: on the device to train on.
        runs_per_stack: how many runs are trained at once; the results don't depend on it.
        store: finished runs are taken from it, and new ones put there.

    """
    runs = [(point, seed) for point in points(spec, data) for seed in spec.seeds]
    results: Results = {}
    if store is not None:
        for run in runs:
            if (found := store.get(*run)) is not None:
                results[run] = found
    stacks = list(_stacks([run for run in runs if run not in results], runs_per_stack))
    n_missing = len(runs) - len(results)
    log.info("%d runs: %d stored, %d to train", len(runs), len(results), n_missing)

    total = n_missing * spec.recipe.epochs
    with Progress(f"{spec.experiment} {spec.variant.name}", total) as progress:
        for point, seeds in stacks:

            def on_epoch(
                epoch: int, loss: float, point: Point = point, n_runs: int = len(seeds)
            ) -> None:
                where = f"depth {point.depth}, hidden {point.hidden_features}"
                progress.advance(n_runs, f"{where}, epoch {epoch}, loss {loss:.4f}")

            trained = train_stack(
                spec.variant,
                point,
                seeds,
                spec.recipe,
                data,
                record=spec.record,
                record_every=spec.record_every,
                on_epoch=on_epoch,
            )
            for seed, result in zip(seeds, trained, strict=True):
                results[point, seed] = result
                if store is not None:
                    store.put(point, seed, result)
    return {run: results[run] for run in runs}


def _stacks(
    missing: Sequence[tuple[Point, int]], runs_per_stack: int
) -> Iterator[tuple[Point, tuple[int, ...]]]:
    """Yield points and the seeds to train there, at most `runs_per_stack` at once."""
    for point in dict.fromkeys(point for point, _ in missing):
        seeds = [seed for other, seed in missing if other == point]
        for start in range(0, len(seeds), runs_per_stack):
            yield point, tuple(seeds[start : start + runs_per_stack])
