"""The optimiser of a stack of runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from fastff.config.recipe import AdamWSpec, Recipe
from fastff.train.schedule import rates_and_momenta


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
