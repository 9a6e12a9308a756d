"""The tidy tables of a job's runs.

Their columns are those of `fastff.tables.schema`. A run is told by variant, depth, hidden_features,
region_leak and seed. Losses are in nats and accuracies are shares; "soft" and "hard" are the two
forms of a layer.

- runs: a row per run, at its best epoch (the last, without early stopping). `accuracy_soft` and
  `accuracy_hard` are of the test part, the others of the part in their name. Those of choices,
  `train_choice_entropy` in bits and `train_choice_experts`, are of the experts of largest soft
  weight, as in training; a model without a gate has none. A run whose loss became NaN or infinite
  has no scores, but `failed_epoch`, when that was seen, and `last_loss`, its last step's finite
  loss. It has no rows in the tables below but that of epochs.
- epochs: a row per run and epoch, of the validation part; without scores from a failure on.
- expert_counts: validation samples per epoch, tree, expert and class, after the best epoch and
  where "expert_counts" is recorded.
- gradients: per part, window of steps and unit; `step` is the window's last.
- nodes: per epoch, tree and node; z = weight_x x + weight_y y + bias where nodes see a plane.
- projections: per epoch and sample, its place (x, y), class, and the expert it is routed to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from fastff.config.job import Run, TrainSpec
from fastff.files import atomic_path, write_sums
from fastff.tables.schema import HEAD, TIDY
from fastff.train.recording import Snapshot
from fastff.train.results import RunResult

Row = dict[str, Any]


def tidy_tables(spec: TrainSpec, results: dict[Run, RunResult]) -> dict[str, pd.DataFrame]:
    """Return the tables of a job, by name, from its results by run."""
    rows: dict[str, list[Row]] = {name: [] for name in TIDY}
    for trained, result in results.items():
        shape = trained.shape
        names = (spec.experiment, spec.dataset, spec.variant.name)
        run = dict(zip(HEAD, (*names, *shape, shape.n_experts, trained.seed), strict=True))
        found = {
            "runs": [_run_row(spec, result)],
            "epochs": _epoch_rows(spec, result),
            "expert_counts": _snapshot_rows(result, _count_rows),
            "gradients": _gradient_rows(result),
            "nodes": _snapshot_rows(result, _node_rows),
            "projections": _snapshot_rows(result, _projection_rows),
        }
        for name in TIDY:
            rows[name] += [run | row for row in found[name]]
    return {
        name: pd.DataFrame(found, columns=list(TIDY[name].header)).astype(
            TIDY[name].nullable_dtypes
        )
        for name, found in rows.items()
    }


def joined_tables(
    specs: Sequence[TrainSpec], jobs: Sequence[dict[Run, RunResult]]
) -> dict[str, pd.DataFrame]:
    """Return the tables of several jobs, by name, one job's rows after the other's."""
    tables = [tidy_tables(spec, results) for spec, results in zip(specs, jobs, strict=True)]
    return {name: pd.concat([job[name] for job in tables]) for name in TIDY}


def _run_row(spec: TrainSpec, result: RunResult) -> Row:
    best, failure = result.best, result.failure
    return {
        "n_parameters": result.n_parameters,
        "training_width": result.training_width,
        "inference_width": result.inference_width,
        "epochs": spec.recipe.epochs,
        "best_epoch": result.best_epoch,
        "batch_size": spec.recipe.batch_size,
        "learning_rate": spec.recipe.learning_rate,
        "train_loss": best and best.train_loss,
        "validation_loss": best and best.validation_loss,
        "validation_loss_hard": best and best.validation_loss_hard,
        "validation_accuracy_soft": best and best.accuracy_soft,
        "validation_accuracy_hard": best and best.accuracy_hard,
        "train_accuracy_soft": result.train_accuracy_soft,
        "train_accuracy_hard": result.train_accuracy_hard,
        "accuracy_soft": result.test_accuracy_soft,
        "accuracy_hard": result.test_accuracy_hard,
        "train_choice_entropy": result.train_choice_entropy,
        "train_choice_experts": result.train_choice_experts,
        "failed_epoch": failure and failure.epoch,
        "last_loss": failure and failure.last_loss,
    }


def _epoch_rows(spec: TrainSpec, result: RunResult) -> list[Row]:
    """Return a row per epoch; of a failed run, rows without scores up to the recipe's last."""
    rows: list[Row] = [asdict(epoch) for epoch in result.epochs]
    if result.failure is not None:
        rest = range(result.failure.epoch, spec.recipe.epochs + 1)
        rows += [{"epoch": epoch} for epoch in rest]
    return rows


def _snapshot_rows(result: RunResult, rows_of: Any) -> list[Row]:
    return [
        {"epoch": snapshot.epoch} | row
        for snapshot in result.snapshots
        for row in rows_of(snapshot)
    ]


def _count_rows(snapshot: Snapshot) -> Iterator[Row]:
    for tree, experts in enumerate(snapshot.expert_counts):
        for expert, by_class in enumerate(experts):
            for class_, count in enumerate(by_class):
                yield {"tree": tree, "expert": expert, "class": class_, "count": count}


def _node_rows(snapshot: Snapshot) -> Iterator[Row]:
    for tree, by_node in enumerate(snapshot.visits):
        for node, visits in enumerate(by_node):
            entropy = snapshot.entropy[tree][node] if snapshot.entropy else None
            line = snapshot.lines[tree][node] if snapshot.lines else (None, None, None)
            found = {"tree": tree, "node": node, "visits": visits, "entropy": entropy}
            yield found | dict(zip(("weight_x", "weight_y", "bias"), line, strict=True))


def _projection_rows(snapshot: Snapshot) -> Iterator[Row]:
    samples = zip(snapshot.classes, snapshot.experts, snapshot.features, strict=True)
    for sample, (class_, expert, (x, y)) in enumerate(samples):
        yield {"sample": sample, "class": class_, "expert": expert, "x": x, "y": y}


def _gradient_rows(result: RunResult) -> list[Row]:
    if result.gradients is None:
        return []
    return [
        {"step": step, "part": part, "unit": unit, "magnitude": magnitude}
        for part, windows in result.gradients.parts.items()
        for step, units in zip(result.gradients.last_steps, windows, strict=True)
        for unit, magnitude in enumerate(units)
    ]


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write each table to `<folder>/<name>.csv`, whole or not at all, and then their checksums."""
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)
    write_sums(folder, (f"{name}.csv" for name in tables))
