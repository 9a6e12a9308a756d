"""Which samples a recipe trains on, which it looks at while it trains, and which it reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from fastff.data.dataset import Dataset
from fastff.spec import Recipe
from fastff.train.seeds import generator


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
    n_train = recipe.train_samples or n_all - n_validation
    if not 1 <= n_train <= n_all - n_validation:
        raise ValueError(
            f"recipe: train_samples = {recipe.train_samples} and validation_samples = "
            f"{n_validation}: at most the {n_all} training samples of {data.name} are allowed "
            "together, and one of them must be left to train on"
        )
    if n_train < recipe.batch_size:
        raise ValueError(
            f"recipe: batch_size = {recipe.batch_size}: at most the {n_train} training samples "
            f"of {data.name} are allowed"
        )
    if n_train == n_all:
        return Split(train, test, test)
    order = torch.randperm(n_all, generator=generator(0, "split")).to(train.labels.device)
    kept = order[n_validation : n_validation + n_train].sort().values
    chosen = Part(train.inputs[kept], train.labels[kept])
    if n_validation == 0:
        return Split(chosen, test, test)
    aside = order[:n_validation].sort().values
    return Split(chosen, Part(train.inputs[aside], train.labels[aside]), test)
