"""The study's optimiser and schedule: AdamW under one cosine cycle."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from fastff.spec import Recipe


def build_optimiser(
    parameters: Iterable[nn.Parameter], recipe: Recipe, n_steps: int
) -> tuple[AdamW, OneCycleLR]:
    """Return the optimiser and its schedule over `n_steps` optimiser steps.

    Call the schedule's `step` between optimiser steps, `n_steps` - 1 times in all.

    Raises:
        ValueError: where the warm-up would end within the first step.

    """
    if recipe.warm_up * n_steps <= 1:
        raise ValueError(
            f"recipe: {n_steps} steps with warm_up = {recipe.warm_up} leave no step to warm up; "
            f"more than {1 / recipe.warm_up:g} steps are needed: raise epochs or lower batch_size"
        )
    optimiser = AdamW(
        parameters,
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    highest, lowest = recipe.momentum
    schedule = OneCycleLR(
        optimiser,
        max_lr=recipe.learning_rate,
        total_steps=n_steps,
        pct_start=recipe.warm_up,
        anneal_strategy="cos",
        cycle_momentum=True,
        base_momentum=lowest,
        max_momentum=highest,
        div_factor=recipe.start_divisor,
        final_div_factor=recipe.end_divisor / recipe.start_divisor,
    )
    return optimiser, schedule
