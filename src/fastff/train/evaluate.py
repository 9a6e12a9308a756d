"""Loss, accuracy and routing of a stack on held-out data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.layers import RoutedLayer

CHUNK = 256  # samples at once: bounds memory at any size of the validation part


@dataclass(frozen=True)
class Evaluation:
    """Float64 results of r runs on the CPU; the form dimension f is (soft, hard).

    Attributes:
        loss: mean cross-entropy in nats, (f, r).
        accuracy: share of samples classified rightly, (f, r).
        expert_counts: samples that the hard form routes to each expert, by class, (r, e, c).

    """

    loss: Tensor
    accuracy: Tensor
    expert_counts: Tensor


@torch.no_grad()
def evaluate(model: RoutedLayer, inputs: Tensor, labels: Tensor, n_classes: int) -> Evaluation:
    """Return how a stack of r runs does on inputs (b, i) with labels (b,), in both forms."""
    n_runs = next(model.parameters()).shape[0]
    losses, correct, counts = [], [], []
    for x, y in zip(inputs.split(CHUNK), labels.split(CHUNK), strict=True):
        outputs, routing = _outputs(model, x, n_runs)
        target = y.expand(outputs.shape[:-1])
        loss = F.cross_entropy(outputs.flatten(0, -2), target.flatten(), reduction="none")
        losses.append(loss.view(target.shape).double().sum(-1))
        correct.append((outputs.argmax(-1) == y).sum(-1))
        by_class = F.one_hot(y, n_classes).to(routing.dtype)  # (b, c)
        counts.append((routing > 0).to(routing.dtype).mT @ by_class)
    n = len(labels)
    return Evaluation(
        loss=torch.stack(losses).sum(0).cpu() / n,
        accuracy=torch.stack(correct).sum(0).cpu().double() / n,
        expert_counts=torch.stack(counts).double().sum(0).cpu(),
    )


def _outputs(model: RoutedLayer, x: Tensor, n_runs: int) -> tuple[Tensor, Tensor]:
    """Return the outputs of both forms (f, r, b, o) and the hard routing (r, b, e) of `x` (b, i).

    Done so that a run's numbers don't change, not even in the last bit, with the number of runs:
    `x` gets a run dimension, since without it the product would be one for all runs, and is
    filled up to a whole chunk, since the ends of an odd-sized array are computed another way.
    """
    n = len(x)
    filled = F.pad(x, (0, 0, 0, CHUNK - n))
    outputs, routing = model.soft_and_hard(filled.expand(n_runs, -1, -1))
    return outputs[..., :n, :], routing[..., :n, :]
