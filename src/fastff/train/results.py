"""What a run leaves behind, and the tidy tables of many runs.

Three tables, one row per run, per run and epoch, and per run, expert and class. Losses are in
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

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunResult:
        """Return the result that `to_json` wrote."""
        epochs = tuple(EpochResult(**epoch) for epoch in values["epochs"])
        return cls(values["n_parameters"], epochs, values["expert_counts"])


def tidy_tables(
    spec: TrainSpec, results: dict[tuple[Shape, int], RunResult]
) -> dict[str, pd.DataFrame]:
    """Return the tables of a job, by name, from its results by shape and seed."""
    runs, epochs, counts = [], [], []
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
    return {
        name: pd.DataFrame(rows) for name, rows in zip(TABLES, (runs, epochs, counts), strict=True)
    }


def write_tables(tables: dict[str, pd.DataFrame], folder: Path) -> None:
    """Write each table to `<folder>/<name>.csv`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)
