"""The optimiser of a stack of runs."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from fastff.spec import AdamWSpec, Recipe


def build_optimiser(parameters: Iterable[nn.Parameter], recipe: Recipe) -> Optimizer:
    """Return the optimiser that a recipe names, at its learning rate.

    Both kinds update every parameter on its own, so that runs that share a tensor stay apart.
    """
    spec, rate = recipe.optimiser, recipe.learning_rate
    if isinstance(spec, AdamWSpec):
        return AdamW(
            parameters,
            lr=rate,
            betas=spec.betas,
            eps=spec.epsilon,
            weight_decay=spec.weight_decay,
            fused=True,
        )
    return SGD(
        parameters, lr=rate, momentum=spec.momentum, weight_decay=spec.weight_decay, fused=True
    )
