"""Which samples a recipe trains on, which it looks at while it trains, and which it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fastff.config.recipe import Recipe
from fastff.data.dataset import Dataset
from fastff.train.device import generator


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
