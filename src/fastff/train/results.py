"""What a run leaves behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fastff.train.recording import Gradients, Snapshot
from fastff.train.stopping import Failure


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
    """One trained run. One that failed has its epochs with finite losses, and nothing else.

    Attributes:
        training_width: hidden units of the model.
        inference_width: hidden units that one input passes at inference.
        best_epoch: the epoch whose parameters the accuracies are of; None of a failed run.
        epochs: a result for each.
        train_choice_entropy: of `recording.soft_choices` over the experts, in bits; None without a
            gate.
        train_choice_experts: how many experts have at least one of these choices.
        snapshots: what was recorded, by epoch; the last one, of `best_epoch`, has expert counts.
        gradients: None where they were not recorded.
        failure: of a run whose loss became NaN or infinite.

    """

    n_parameters: int
    training_width: int
    inference_width: int
    best_epoch: int | None
    epochs: tuple[EpochResult, ...]
    train_accuracy_soft: float | None = None
    train_accuracy_hard: float | None = None
    test_accuracy_soft: float | None = None
    test_accuracy_hard: float | None = None
    train_choice_entropy: float | None = None
    train_choice_experts: int | None = None
    snapshots: tuple[Snapshot, ...] = ()
    gradients: Gradients | None = None
    failure: Failure | None = None

    @property
    def best(self) -> EpochResult | None:
        """The result of the epoch whose parameters count; None of a failed run."""
        return None if self.best_epoch is None else self.epochs[self.best_epoch - 1]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> RunResult:
        """Return the result that `to_json` wrote."""
        recorded, failure = values["gradients"], values["failure"]
        rest = {
            "epochs": tuple(EpochResult(**epoch) for epoch in values["epochs"]),
            "snapshots": tuple(Snapshot(**snapshot) for snapshot in values["snapshots"]),
            "gradients": None if recorded is None else Gradients(**recorded),
            "failure": None if failure is None else Failure(**failure),
        }
        return cls(**(values | rest))
