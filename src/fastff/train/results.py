"""What a run leaves behind, and the tidy tables of many runs.

Four tables: one row per run; per run and epoch; per run, expert and class; and, where gradients
are recorded, per run, part, window of steps and unit (`step` is the window's last). Losses are in
nats, accuracies are shares of the validation part; "soft" and "hard" are the gate's forms, and a
plain `validation_loss` is of the soft form, as `train_loss` is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fastff.files import atomic_path
from fastff.spec import Shape, TrainSpec
from fastff.tidy import TABLES
from fastff.train.gradients import Gradients

GRADIENT_COLUMNS = ("step", "part", "unit", "magnitude")


@dataclass(frozen=True)
class EpochResult:
    """Losses and accuracies after one epoch; `train_loss` is the mean over its steps."""

    epoch: int
    train_loss: float
    validation_loss: float
    validation_loss_hard: float
    accuracy_soft: float
    accuracy_hard: float


@dataclass(frozen=True)
class RunResult:
    """One trained run: its size, its epochs, and the final samples per expert and class."""

    n_parameters: int
    epochs: tuple[EpochResult, ...]
    expert_counts: list[list[int]]  # (e, c)
    gradients: Gradients | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunResult:
        """Return the result that `to_json` wrote."""
        epochs = tuple(EpochResult(**epoch) for epoch in values["epochs"])
        recorded = values["gradients"]
        gradients = None if recorded is None else Gradients(**recorded)
        return cls(values["n_parameters"], epochs, values["expert_counts"], gradients)


def tidy_tables(
    spec: TrainSpec, results: dict[tuple[Shape, int], RunResult]
) -> dict[str, pd.DataFrame]:
    """Return the tables of a job, by name, from its results by shape and seed."""
    runs, epochs, counts, gradients = [], [], [], []
    job = {
        "experiment": spec.experiment,
        "dataset": spec.dataset,
        "variant": spec.variant.name,
        "label": spec.variant.label,
    }
    recipe = {
        "epochs": spec.recipe.epochs,
        "batch_size": spec.recipe.batch_size,
        "learning_rate": spec.recipe.learning_rate,
    }
    for shape in spec.grid.shapes():
        for seed in spec.seeds:
            result = results[shape, seed]
            run = job | shape._asdict() | {"n_experts": 2**shape.depth, "seed": seed}
            final = asdict(result.epochs[-1])
            n_epochs = final.pop("epoch")
            runs.append(run | {"n_parameters": result.n_parameters} | recipe | final)
            epochs += [run | asdict(epoch) for epoch in result.epochs]
            counts += [
                run | {"epoch": n_epochs, "expert": expert, "class": class_, "count": count}
                for expert, by_class in enumerate(result.expert_counts)
                for class_, count in enumerate(by_class)
            ]
            gradients += _gradient_rows(run, result.gradients)
    tables = (runs, epochs, counts, gradients)
    frames = {name: pd.DataFrame(rows) for name, rows in zip(TABLES, tables, strict=True)}
    if not gradients:  # a table that isn't recorded has its columns too
        frames["gradients"] = pd.DataFrame(columns=[*run, *GRADIENT_COLUMNS])
    return frames


def _gradient_rows(run: dict[str, Any], gradients: Gradients | None) -> list[dict[str, Any]]:
    if gradients is None:
        return []
    return [
        run | dict(zip(GRADIENT_COLUMNS, (step, part, unit, magnitude), strict=True))
        for part, windows in gradients.parts.items()
        for step, units in zip(gradients.last_steps, windows, strict=True)
        for unit, magnitude in enumerate(units)
    ]


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write each table to `<folder>/<name>.csv`, whole or not at all."""
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)
