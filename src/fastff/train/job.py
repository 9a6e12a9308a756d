"""Training jobs: variants over their grids and seeds, stack by stack.

The engine itself writes no line about how far it is, but tells a watcher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from fastff.config.job import Run, TrainSpec
from fastff.config.model import ModelSpec, Point
from fastff.data.dataset import Dataset
from fastff.train.checkpoint import Checkpoints
from fastff.train.graceful_shutdown import StopRequest
from fastff.train.loop import Training, train_stack
from fastff.train.results import RunResult
from fastff.train.scheduler import Stack, runs_that_fit, train_together
from fastff.train.sizes import runs
from fastff.train.store import RunStore

Results = dict[Run, RunResult]
JobRun = tuple[int, Point, int]  # the place of its job in a list of jobs, its shape and its seed


class Watcher(Protocol):
    """Is told of every epoch and every finished run of a training."""

    def advance(
        self, runs: Iterable[JobRun], epoch: int, loss: float, *, resumed: bool = False
    ) -> None:
        """Take note that the runs of a stack have reached an epoch.

        `loss` is their mean train loss in it. An epoch that comes from a checkpoint was `resumed`.
        """

    def finish(self, runs: Iterable[JobRun]) -> None:
        """Take note that runs are finished, perhaps before their last epoch."""


# Called when it is known what is to be trained: with the jobs, the number of epochs of every run
# that is to be trained, and how many runs of each job were stored.
Watch = Callable[
    [Sequence[TrainSpec], Mapping[JobRun, int], Sequence[int]], AbstractContextManager[Watcher]
]


class _Nobody:
    def advance(
        self, runs: Iterable[JobRun], epoch: int, loss: float, *, resumed: bool = False
    ) -> None:
        pass

    def finish(self, runs: Iterable[JobRun]) -> None:
        pass


def unwatched(
    specs: Sequence[TrainSpec], epochs: Mapping[JobRun, int], n_stored: Sequence[int]
) -> AbstractContextManager[Watcher]:
    """Watch nothing."""
    return nullcontext(_Nobody())


def train(
    specs: Sequence[TrainSpec],
    data: Dataset,
    *,
    runs_per_stack: int,
    stacks_at_once: int = 1,
    stores: Sequence[RunStore] = (),
    checkpoints: Sequence[Checkpoints] = (),
    watch: Watch = unwatched,
) -> list[Results]:
    """Return each job's results by run, in the order of `runs`.

    Args:
        specs: the jobs, no two the same.
        data: on the device to train on.
        runs_per_stack: how many runs are trained as one computation, at most.
        stacks_at_once: how many such computations share a CUDA device.
        stores: one for each job, from which finished runs are taken, and where new ones are put.
        checkpoints: one for each job, from which training goes on where it was ended.
        watch: starts to watch the training.

    Raises:
        StoppedError: where the checkpoints' stop was asked for, when each stack has its checkpoint.

    """
    all_runs = [runs(spec, data) for spec in specs]
    found: list[Results] = [{} for _ in specs]
    if stores:
        for store, job_runs, results in zip(stores, all_runs, found, strict=True):
            store.recover()
            results |= {run: result for run in job_runs if (result := store.get(run)) is not None}
    stacks: list[Stack] = []
    for spec, job_runs, results in zip(specs, all_runs, found, strict=True):
        missing = [run for run in job_runs if run not in results]
        stacks += _stacks(spec, missing, data, runs_per_stack, stacks_at_once)

    epochs = {
        run: stack.spec.recipe.epochs
        for stack in stacks
        for run in _job_runs(specs.index(stack.spec), stack)
    }
    with watch(specs, epochs, [len(results) for results in found]) as watcher:

        def start(stack: Stack) -> Training:
            job = specs.index(stack.spec)
            files = checkpoints[job] if checkpoints else None
            return _start(stack, job, data, watcher, files)

        device = data.train_inputs.device
        for stack, trained in train_together(stacks, start, device=device, at_once=stacks_at_once):
            job = specs.index(stack.spec)
            results = dict(zip(stack.runs, trained, strict=True))
            watcher.finish(_job_runs(job, stack))
            found[job] |= results
            if stores:
                stores[job].put(results)
            if checkpoints:
                checkpoints[job].of(stack.model, stack.seeds).remove()
    for spec, files in zip(specs, checkpoints, strict=False):  # there may be none
        if spec.runs is None:  # other parts of a job that is split have theirs beside these
            files.clear()
    return [
        {run: results[run] for run in job_runs}
        for job_runs, results in zip(all_runs, found, strict=True)
    ]


def _stacks(
    spec: TrainSpec,
    missing: Sequence[Run],
    data: Dataset,
    runs_per_stack: int,
    stacks_at_once: int,
) -> Iterator[Stack]:
    """Yield the stacks that train the missing runs, each of one model."""
    by_model: dict[ModelSpec, list[int]] = {}
    for model, seed in missing:
        by_model.setdefault(model, []).append(seed)
    for model, seeds in by_model.items():
        at_most = min(runs_per_stack, runs_that_fit(spec, model, data, stacks_at_once))
        for start in range(0, len(seeds), at_most):
            yield Stack(spec, model, tuple(seeds[start : start + at_most]))


def _job_runs(job: int, stack: Stack) -> list[JobRun]:
    return [(job, run.shape, run.seed) for run in stack.runs]


def _start(
    stack: Stack,
    job: int,
    data: Dataset,
    watcher: Watcher,
    checkpoints: Checkpoints | None,
) -> Training:
    spec, runs = stack.spec, _job_runs(job, stack)
    checkpoint = None if checkpoints is None else checkpoints.of(stack.model, stack.seeds)

    def on_epoch(epoch: int, loss: float) -> None:
        resumed = checkpoint is not None and epoch <= checkpoint.epoch
        watcher.advance(runs, epoch, loss, resumed=resumed)

    return train_stack(
        stack.model,
        stack.seeds,
        spec.recipe,
        data,
        record=spec.record,
        record_every=spec.record_every,
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )


def job_checkpoints(
    folder: Path | None,
    specs: Sequence[TrainSpec],
    contexts: Sequence[dict[str, Any]],
    interval: float,
    stop: StopRequest,
) -> list[Checkpoints]:
    """Return the checkpoints of each job, of its `run_context`, or none without a folder."""
    if folder is None:
        return []
    return [
        Checkpoints(
            folder / "checkpoints",
            f"{spec.experiment}.{spec.variant.name}",
            context,
            interval,
            stop,
        )
        for spec, context in zip(specs, contexts, strict=True)
    ]
