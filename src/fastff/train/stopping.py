"""Runs that end before their last epoch: they fail, or they stop early; their stack goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fastff.config.recipe import EarlyStoppingSpec


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
        losses = [metrics[name] for name in metrics if "loss" in name]
        finite = torch.stack(losses).isfinite().all(0)
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


class EarlyStopping:
    """Keeps every run's parameters of the epoch with its best metric.

    Attributes:
        best_epoch: of each run, the first with its best metric, (r,).
        stopped_epoch: of each run, the last that counts, (r,); 0 while it goes on.

    """

    def __init__(self, spec: EarlyStoppingSpec, model: nn.Module) -> None:
        self.spec = spec
        self.parameters = list(model.parameters())
        n_runs = self.parameters[0].shape[0]
        self.best = torch.full((n_runs,), -torch.inf, dtype=torch.float64)
        self.best_epoch = torch.zeros(n_runs, dtype=torch.long)
        self.stopped_epoch = torch.zeros(n_runs, dtype=torch.long)
        self.kept = [parameter.detach().clone() for parameter in self.parameters]

    @property
    def is_over(self) -> bool:
        """Whether every run has stopped."""
        return bool((self.stopped_epoch > 0).all())

    def after_epoch(self, epoch: int, metrics: Mapping[str, Tensor]) -> None:
        """Take note of an epoch's metrics, a number per run each, (r,)."""
        value = metrics[self.spec.metric].double().cpu()
        value = -value if "loss" in self.spec.metric else value
        goes_on = self.stopped_epoch == 0
        # the first epoch counts even where its metric is not a number
        better = goes_on & ((value > self.best) | (self.best_epoch == 0))
        self.best = torch.where(better, value, self.best)
        self.best_epoch = torch.where(better, epoch, self.best_epoch)
        for kept, parameter in zip(self.kept, self.parameters, strict=True):
            mask = better.to(parameter.device).view(-1, *[1] * (parameter.ndim - 1))
            torch.where(mask, parameter.detach(), kept, out=kept)
        stops = goes_on & (epoch - self.best_epoch >= self.spec.patience)
        self.stopped_epoch = torch.where(stops, epoch, self.stopped_epoch)

    def drop(self, epoch: int, failed: Tensor) -> None:
        """Wait for no run that has failed, (r,)."""
        stops = (self.stopped_epoch == 0) & failed
        self.stopped_epoch = torch.where(stops, epoch, self.stopped_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "kept": self.kept,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was."""
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self.stopped_epoch = state["stopped_epoch"]
        for kept, saved in zip(self.kept, state["kept"], strict=True):
            kept.copy_(saved)

    @torch.no_grad()
    def restore(self) -> None:
        """Give every run the parameters of its best epoch."""
        for kept, parameter in zip(self.kept, self.parameters, strict=True):
            parameter.copy_(kept)
