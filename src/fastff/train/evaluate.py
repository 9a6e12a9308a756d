"""Which samples are for what, and how a stack does on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.config.recipe import Recipe
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.train.device import generator

# samples at once, which bounds memory at any number of samples: what fits a CPU's cache, and what
# keeps a GPU busy
CHUNKS = {"cpu": 256, "cuda": 4096}


class Part(NamedTuple):
    """Samples: inputs (n, i) and labels (n,)."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of a dataset; without samples kept aside, `validation` is `test`."""

    train: Part
    validation: Part
    test: Part


def split(data: Dataset, recipe: Recipe) -> Split:
    """Return the parts that a recipe asks for, the same for every run.

    Samples that are kept aside, and those that are left out, are drawn at random from the
    training samples, always the same ones.

    Raises:
        ValueError: where the training part has too few samples for it, or for one batch.

    """
    train = Part(data.train_inputs, data.train_labels)
    test = Part(data.test_inputs, data.test_labels)
    n_all, n_validation = len(train.labels), recipe.validation_samples
    n_train = recipe.n_train(n_all, data.name)
    if n_train == n_all:
        return Split(train, test, test)
    order = torch.randperm(n_all, generator=generator(0, "split")).to(train.labels.device)
    kept = order[n_validation : n_validation + n_train].sort().values
    chosen = Part(train.inputs[kept], train.labels[kept])
    if n_validation == 0:
        return Split(chosen, test, test)
    aside = order[:n_validation].sort().values
    return Split(chosen, Part(train.inputs[aside], train.labels[aside]), test)


@dataclass(frozen=True)
class Scores:
    """Float64 results of r runs, on the model's device; the form dimension f is (soft, hard).

    Attributes:
        loss: mean cross-entropy in nats, (f, r).
        accuracy: share of samples classified rightly, (f, r).

    """

    loss: Tensor
    accuracy: Tensor


@torch.no_grad()
def evaluate(model: Layer, part: Part) -> Scores:
    """Return how a stack of r runs, in evaluation mode, does on samples, in both forms."""
    losses, correct = [], []
    for x, y in chunks(model, part):
        outputs = model.soft_and_hard(x)[0][..., : len(y), :]  # (f, r, b, o)
        target = y.expand(outputs.shape[:-1])
        loss = F.cross_entropy(outputs.flatten(0, -2), target.flatten(), reduction="none")
        losses.append(loss.view(target.shape).double().sum(-1))
        correct.append((outputs.argmax(-1) == y).sum(-1))
    n = len(part.labels)
    return Scores(
        loss=torch.stack(losses).sum(0) / n,
        accuracy=torch.stack(correct).sum(0).double() / n,
    )


def chunks(model: Layer, part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield inputs (r, chunk, i) for a stack of r runs, and the labels (b,) of the first b.

    Done so that a run's numbers don't change, not even in the last bit, with the number of runs:
    inputs get a run dimension, since without it the product would be one for all runs, and are
    filled up to a whole chunk, since the ends of an odd-sized array are computed another way.
    """
    n_runs = next(model.parameters()).shape[0]
    chunk = CHUNKS[part.inputs.device.type]
    for x, y in zip(part.inputs.split(chunk), part.labels.split(chunk), strict=True):
        filled = F.pad(x, (0, 0, 0, chunk - len(x)))
        yield filled.expand(n_runs, -1, -1), y
