"""The optimiser of a stack of runs, and how its learning rate goes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW
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


class Optimiser(Protocol):
    """Updates parameters (r, ...) by their gradients, step by step of a schedule.

    Attributes:
        is_capturable: whether a step can be captured as a CUDA graph and replayed.

    """

    is_capturable: bool

    def zero_grad(self) -> None:
        """Forget the gradients."""

    def step(self) -> None:
        """Take the schedule's next step."""

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes: all but the parameters."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was."""


class EagerOptimiser:
    """torch's own AdamW or SGD, whose rate and momentum are set before every step.

    Both update every parameter on its own, so that runs that share a tensor stay apart.

    Args:
        parameters: of a stack of r runs.
        recipe: says which optimiser.
        steps: learning rate and momentum of every step.
        scale: what a run's updates are multiplied with, (r,), or None.

    """

    is_capturable = False

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        recipe: Recipe,
        steps: Sequence[tuple[float, float]],
        scale: Tensor | None,
    ) -> None:
        self.parameters = parameters
        self.steps = steps
        self.n_taken = 0
        self.scale = scale
        spec, rate = recipe.optimiser, recipe.learning_rate
        self.optimiser: AdamW | SGD
        if isinstance(spec, AdamWSpec):
            self.optimiser = AdamW(
                parameters,
                lr=rate,
                betas=spec.betas,
                eps=spec.epsilon,
                weight_decay=spec.weight_decay,
                fused=True,
            )
        else:
            self.optimiser = SGD(
                parameters,
                lr=rate,
                momentum=spec.momentum,
                weight_decay=spec.weight_decay,
                fused=True,
            )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.optimiser.zero_grad()

    def step(self) -> None:
        """Take the schedule's next step."""
        (group,) = self.optimiser.param_groups
        group["lr"], momentum = self.steps[self.n_taken]
        self.n_taken += 1
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum
        if self.scale is None:
            self.optimiser.step()
            return
        before = [parameter.detach().clone() for parameter in self.parameters]
        self.optimiser.step()
        with torch.no_grad():
            for old, new in zip(before, self.parameters, strict=True):
                new.copy_(torch.lerp(old, new, self.scale.view(-1, *[1] * (new.ndim - 1))))

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"n_taken": self.n_taken, "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was."""
        self.n_taken = state["n_taken"]
        self.optimiser.load_state_dict(state["optimiser"])


def build_optimiser(
    parameters: Sequence[nn.Parameter], recipe: Recipe, n_steps: int, scale: Tensor | None
) -> Optimiser:
    """Return the optimiser that a recipe names, over `n_steps` steps.

    On a CUDA device with Triton it is one that can be captured: torch's own can't have their
    momentum moved in a graph.

    Args:
        parameters: of a stack of r runs.
        recipe: optimiser, learning rate and schedule.
        n_steps: how often `step` will be called at most.
        scale: what a run's updates are multiplied with, (r,), or None.

    """
    steps = rates_and_momenta(recipe, n_steps)
    if parameters[0].is_cuda and importlib.util.find_spec("triton") is not None:
        from fastff.train.captured import CapturedOptimiser

        return CapturedOptimiser(parameters, recipe.optimiser, steps, scale)
    return EagerOptimiser(parameters, recipe, steps, scale)
