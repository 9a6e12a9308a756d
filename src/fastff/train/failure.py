"""Runs whose loss is no longer a finite number: they end, the others of their stack go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

LOSSES = ("train_loss", "validation_loss", "validation_loss_hard")


@dataclass(frozen=True)
class Failure:
    """How a run ended whose loss became NaN or infinite.

    Attributes:
        epoch: the first whose train or validation loss is not finite.
        last_loss: the last finite loss of a training step in nats, None where not even the first
            step's was.

    """

    epoch: int
    last_loss: float | None


class Failures:
    """Which of a stack's r runs have failed, found once per epoch, on the host.

    Attributes:
        by_run: a failure, or None, for each run.

    """

    def __init__(self, n_runs: int) -> None:
        self.by_run: list[Failure | None] = [None] * n_runs

    @property
    def mask(self) -> Tensor:
        """Which runs have failed, (r,)."""
        return torch.tensor([failure is not None for failure in self.by_run])

    def after_epoch(self, epoch: int, metrics: Mapping[str, Tensor], last_loss: Tensor) -> None:
        """Take note of an epoch.

        Args:
            epoch: its number.
            metrics: on the CPU, a number per run each, (r,).
            last_loss: the last finite loss of a step of each run, NaN for none, (r,).

        """
        finite = torch.stack([metrics[name] for name in LOSSES]).isfinite().all(0)
        for run, is_finite in enumerate(finite.tolist()):
            if not is_finite and self.by_run[run] is None:
                last = last_loss[run].item()
                self.by_run[run] = Failure(epoch, None if last != last else last)

    def state_dict(self) -> list[dict[str, Any] | None]:
        """Return what `load_state_dict` takes."""
        return [None if failure is None else asdict(failure) for failure in self.by_run]

    def load_state_dict(self, state: list[dict[str, Any] | None]) -> None:
        """Go on from where `state_dict` was."""
        self.by_run = [None if failure is None else Failure(**failure) for failure in state]
