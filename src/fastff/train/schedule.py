"""How the learning rate goes: by torch's own schedulers, for a whole stack or run by run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from fastff.spec import OneCycleSpec, PlateauSpec, Recipe


class Schedule:
    """What happens to the learning rate before a step and after an epoch; here, nothing.

    Attributes:
        scale: what a run's updates are multiplied with, (r,), or None where they are as they are.

    """

    scale: Tensor | None = None

    def before_step(self) -> None:
        """Set the optimiser for the next step."""

    def after_epoch(self, metrics: Mapping[str, Tensor]) -> None:
        """Take note of an epoch's metrics, a number per run each, (r,)."""


class OneCycle(Schedule):
    """One cosine cycle over all steps, of the learning rate and against it of the momentum.

    Raises:
        ValueError: where the warm-up would end within the first step.

    """

    def __init__(self, optimiser: Optimizer, spec: OneCycleSpec, n_steps: int) -> None:
        if spec.warm_up * n_steps <= 1:
            raise ValueError(
                f"recipe: {n_steps} steps with warm_up = {spec.warm_up} leave no step to warm "
                f"up; more than {1 / spec.warm_up:g} steps are needed: raise epochs or lower "
                "batch_size"
            )
        highest, lowest = spec.momentum
        self.cycle = OneCycleLR(
            optimiser,
            max_lr=optimiser.param_groups[0]["lr"],
            total_steps=n_steps,
            pct_start=spec.warm_up,
            anneal_strategy="cos",
            cycle_momentum=True,
            base_momentum=lowest,
            max_momentum=highest,
            div_factor=spec.start_divisor,
            final_div_factor=spec.end_divisor / spec.start_divisor,
        )
        self.is_first = True

    def before_step(self) -> None:
        """Set the optimiser for the next step; the first is set from the start."""
        if not self.is_first:
            self.cycle.step()
        self.is_first = False


class Plateau(Schedule):
    """Every run's rate falls by itself when the run's metric stands still.

    A stack has one learning rate. But both optimisers' updates are proportional to it, so that a
    run's own rate is a factor to its updates.
    """

    def __init__(self, spec: PlateauSpec, n_runs: int, device: torch.device) -> None:
        self.metric = spec.metric
        self.scale = torch.ones(n_runs, device=device)
        # torch's scheduler needs an optimiser, of which it only reads and sets the rate
        self.rates = [SGD([torch.zeros(1)], lr=1.0) for _ in range(n_runs)]
        self.schedulers = [
            ReduceLROnPlateau(
                rate,
                mode="max" if spec.metric.startswith("accuracy") else "min",
                factor=spec.factor,
                patience=spec.patience - 1,
                threshold=0.0,
                eps=0.0,
            )
            for rate in self.rates
        ]

    def after_epoch(self, metrics: Mapping[str, Tensor]) -> None:
        """Lower the rates of the runs that stand still."""
        for scheduler, value in zip(self.schedulers, metrics[self.metric].tolist(), strict=True):
            scheduler.step(value)
        rates = torch.tensor([rate.param_groups[0]["lr"] for rate in self.rates])
        assert self.scale is not None
        self.scale.copy_(rates)


def build_schedule(
    optimiser: Optimizer, recipe: Recipe, *, n_steps: int, n_runs: int, device: torch.device
) -> Schedule:
    """Return the schedule that a recipe names, for `n_steps` steps of a stack of `n_runs`."""
    if isinstance(recipe.schedule, OneCycleSpec):
        return OneCycle(optimiser, recipe.schedule, n_steps)
    if isinstance(recipe.schedule, PlateauSpec):
        return Plateau(recipe.schedule, n_runs, device)
    return Schedule()
