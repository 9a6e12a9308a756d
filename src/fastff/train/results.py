"""What a run leaves behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fastff.train.gradients import Gradients
from fastff.train.snapshots import Snapshot


@dataclass(frozen=True)
class EpochResult:
    """After one epoch: losses in nats and accuracies as shares, on the validation part.

    `train_loss` is the mean over the epoch's steps; a plain `validation_loss` is, as it, that of
    the soft form.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_loss_hard: float
    accuracy_soft: float
    accuracy_hard: float


@dataclass(frozen=True)
class RunResult:
    """One trained run.

    Attributes:
        training_width: hidden units of the model.
        inference_width: hidden units that one input passes at inference.
        best_epoch: the epoch whose parameters the accuracies are of.
        epochs: a result for each.
        snapshots: what was recorded, by epoch; the last one, of `best_epoch`, has expert counts.
        gradients: None where they were not recorded.

    """

    n_parameters: int
    training_width: int
    inference_width: int
    best_epoch: int
    epochs: tuple[EpochResult, ...]
    train_accuracy_soft: float
    train_accuracy_hard: float
    test_accuracy_soft: float
    test_accuracy_hard: float
    snapshots: tuple[Snapshot, ...]
    gradients: Gradients | None = None

    @property
    def best(self) -> EpochResult:
        """The result of the epoch whose parameters count."""
        return self.epochs[self.best_epoch - 1]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunResult:
        """Return the result that `to_json` wrote."""
        recorded = values["gradients"]
        rest = {
            "epochs": tuple(EpochResult(**epoch) for epoch in values["epochs"]),
            "snapshots": tuple(Snapshot(**snapshot) for snapshot in values["snapshots"]),
            "gradients": None if recorded is None else Gradients(**recorded),
        }
        return cls(**(values | rest))
