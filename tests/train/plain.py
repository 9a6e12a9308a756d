"""One run by a plain loop: eager, one model, torch's own optimisers and schedulers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.config.model import Variant
from fastff.train.device import generator
from fastff.train.evaluate import Split
from models import small_model


@dataclass
class PlainRun:
    """A model, and after each epoch its train loss, validation accuracy (hard) and rate."""

    model: nn.Module
    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    states: list[dict[str, Tensor]] = field(default_factory=list)


def plain_run(
    variant: Variant,
    parts: Split,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    optimiser: Callable[..., torch.optim.Optimizer],
    plateau: Callable[..., torch.optim.lr_scheduler.ReduceLROnPlateau] | None = None,
    per_step: Callable[..., torch.optim.lr_scheduler.LRScheduler] | None = None,
) -> PlainRun:
    """Train `variant` at depth 3 with 8 hidden units, five classes, on `parts`."""
    model = small_model(
        variant, hidden_features=8, out_features=5, generator=generator(seed, "initialisation")
    )
    run = PlainRun(model)
    steps = optimiser(model.parameters())
    by_epoch, by_step = plateau and plateau(steps), per_step and per_step(steps)
    order = generator(seed, "order")
    for _ in range(epochs):
        total, n_batches = 0.0, 0
        model.train()
        for batch in torch.randperm(len(parts.train.labels), generator=order).split(batch_size):
            if len(batch) < batch_size:
                continue
            outputs, own = model.soft_with_loss(parts.train.inputs[batch])
            loss = F.cross_entropy(outputs, parts.train.labels[batch])
            steps.zero_grad()
            (loss if own is None else loss + own).backward()
            steps.step()
            if by_step is not None and by_step.last_epoch < by_step.total_steps - 1:
                by_step.step()
            total, n_batches = total + loss.item(), n_batches + 1
        model.eval()
        right = model(parts.validation.inputs).argmax(-1) == parts.validation.labels
        run.losses.append(total / n_batches)
        run.accuracies.append(right.double().mean().item())
        run.states.append({k: v.clone() for k, v in model.state_dict().items()})
        if by_epoch is not None:
            by_epoch.step(run.losses[-1])
        run.rates.append(steps.param_groups[0]["lr"])
    return run
