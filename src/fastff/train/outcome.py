"""What a stack's runs leave behind after their last epoch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from fastff.config.job import Recording
from fastff.layers import Layer
from fastff.train.evaluate import evaluate
from fastff.train.results import RunResult
from fastff.train.snapshots import Snapshot, snapshots
from fastff.train.split import Split
from fastff.train.state import StackState


def outcomes(
    state: StackState,
    models: Sequence[Layer],
    parts: Split,
    n_classes: int,
    record: Collection[Recording],
    n_steps: int,
) -> list[RunResult]:
    """Return the results of a stack's r runs, each of its best epoch; of a failed one, why.

    Args:
        state: after the last epoch.
        models: the r models that were stacked.
        parts: the samples.
        n_classes: of the labels.
        record: what is written down of the best epoch beside the expert counts.
        n_steps: of an epoch.

    """
    best_epochs = [state.epoch] * len(models)
    if state.stopping is not None:
        state.stopping.restore()
        best_epochs = state.stopping.best_epoch.tolist()
        for run, last in enumerate(state.stopping.stopped_epoch.tolist()):
            del state.histories[run][last or len(state.histories[run]) :]
    what: set[Recording] = {*record, "expert_counts"}
    last = snapshots(state.model.eval(), parts.validation, n_classes, best_epochs, what)
    accuracies = _accuracies(state.model, parts, len(models))
    results = []
    for run, failure in enumerate(state.failures.by_run):
        history = state.histories[run]
        always: dict[str, Any] = {
            "n_parameters": sum(parameter.numel() for parameter in models[run].parameters()),
            "training_width": state.model.training_width,
            "inference_width": state.model.inference_width,
            "epochs": tuple(history),
        }
        if failure is not None:
            results.append(RunResult(**always, best_epoch=None, failure=failure))
            continue
        recorder = state.recorder
        gradients = None if recorder is None else recorder.result(run, n_steps * len(history))
        taken = [snapshots_of[run] for snapshots_of in state.taken]
        results.append(
            RunResult(
                **always,
                **accuracies[run],
                best_epoch=best_epochs[run],
                snapshots=_until_best(taken, last[run]),
                gradients=gradients,
            )
        )
    return results


def _accuracies(model: Layer, parts: Split, n_runs: int) -> list[dict[str, Any]]:
    """Return each run's accuracies on the training and the test samples, in both forms."""
    found = {"train": evaluate(model, parts.train), "test": evaluate(model, parts.test)}
    return [
        {
            f"{part}_accuracy_{form}": scores.accuracy[place, run].item()
            for part, scores in found.items()
            for place, form in enumerate(("soft", "hard"))
        }
        for run in range(n_runs)
    ]


def _until_best(taken: Sequence[Snapshot], best: Snapshot) -> tuple[Snapshot, ...]:
    """Return the snapshots before the best epoch, and that of it for good."""
    return (*(one for one in taken if one.epoch < best.epoch), best)
