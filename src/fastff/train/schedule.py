"""How the learning rate goes: over the steps, by torch's own schedulers, or run by run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from fastff.config.recipe import AdamWSpec, OneCycleSpec, PlateauSpec, Recipe


def rates_and_momenta(recipe: Recipe, n_steps: int) -> list[tuple[float, float]]:
    """Return the learning rate and the momentum (or first beta) of every step.

    Raises:
        ValueError: where the warm-up of a cycle would end within the first step.

    """
    spec = recipe.schedule
    if not isinstance(spec, OneCycleSpec):
        own = recipe.optimiser
        momentum = own.betas[0] if isinstance(own, AdamWSpec) else own.momentum
        return [(recipe.learning_rate, momentum)] * n_steps
    recipe.check_steps(n_steps)
    highest, lowest = spec.momentum
    optimiser = SGD([torch.zeros(1)], lr=recipe.learning_rate, momentum=highest)
    cycle = OneCycleLR(
        optimiser,
        max_lr=recipe.learning_rate,
        total_steps=n_steps,
        pct_start=spec.warm_up,
        anneal_strategy="cos",
        cycle_momentum=True,
        base_momentum=lowest,
        max_momentum=highest,
        div_factor=spec.start_divisor,
        final_div_factor=spec.end_divisor / spec.start_divisor,
    )
    (group,) = optimiser.param_groups
    steps = [(group["lr"], group["momentum"])]
    optimiser.step()  # torch warns of a schedule that moves before its optimiser
    for _ in range(n_steps - 1):
        cycle.step()
        steps.append((group["lr"], group["momentum"]))
    return steps


class Plateau:
    """Every run's rate falls by itself when the run's metric stands still.

    A stack has one learning rate. But the optimisers' updates are proportional to it, so that a
    run's own rate is a factor to its updates.

    Attributes:
        scale: this factor, (r,).

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
        """Lower the rates of the runs that stand still; metrics have a number per run, (r,)."""
        for scheduler, value in zip(self.schedulers, metrics[self.metric].tolist(), strict=True):
            scheduler.step(value)
        self._set_scale()

    def _set_scale(self) -> None:
        self.scale.copy_(torch.tensor([rate.param_groups[0]["lr"] for rate in self.rates]))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {
            "rates": [rate.param_groups[0]["lr"] for rate in self.rates],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was."""
        for rate, value in zip(self.rates, state["rates"], strict=True):
            rate.param_groups[0]["lr"] = value
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(saved)
        self._set_scale()
