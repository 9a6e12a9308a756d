"""Training as it is mostly written: a DataLoader over single samples, one model, eager steps."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from torch.optim import SGD, AdamW, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from fastff.config.recipe import AdamWSpec, Recipe
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.train.optimiser import rates_and_momenta

Loader = DataLoader[tuple[torch.Tensor, ...]]


class PlainTraining:
    """One run over a DataLoader, with an evaluation of the hard form after every epoch.

    Args:
        model: to train, on the device to train on.
        data: on the CPU: samples are fetched one by one, put together, and moved batch by batch.
        recipe: optimiser, schedule and batch size; of its split and stopping nothing is used.
        workers: processes that fetch samples; 0 fetches in this one.

    """

    def __init__(self, model: Layer, data: Dataset, recipe: Recipe, workers: int) -> None:
        self.model = model
        self.device = next(model.parameters()).device
        train = TensorDataset(data.train_inputs, data.train_labels)
        test = TensorDataset(data.test_inputs, data.test_labels)

        def loader(samples: TensorDataset, *, shuffle: bool) -> Loader:
            return DataLoader(
                samples,
                recipe.batch_size,
                shuffle=shuffle,
                drop_last=shuffle,
                num_workers=workers,
                persistent_workers=workers > 0,
                pin_memory=self.device.type == "cuda",
            )

        self.train = loader(train, shuffle=True)
        self.test = loader(test, shuffle=False)
        self.steps = rates_and_momenta(recipe, recipe.epochs * len(self.train))
        self.optimiser = _optimiser(model, recipe)

    def epoch(self) -> float:
        """Train and evaluate for one epoch, and return the seconds that it took."""
        start = time.perf_counter()
        (group,) = self.optimiser.param_groups
        self.model.train()
        total = torch.zeros((), device=self.device)
        for step, (x, y) in enumerate(self.train):
            group["lr"], momentum = self.steps[step]
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            else:
                group["momentum"] = momentum
            x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
            self.optimiser.zero_grad()
            outputs, own_loss = self.model.soft_with_loss(x)
            loss = F.cross_entropy(outputs, y)
            (loss if own_loss is None else loss + own_loss).backward()
            self.optimiser.step()
            total += loss.detach()
        self.model.eval()
        right = torch.zeros((), dtype=torch.long, device=self.device)
        with torch.no_grad():
            for x, y in self.test:
                x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
                right += (self.model(x).argmax(-1) == y).sum()
        total.item(), right.item()  # waits for the device
        return time.perf_counter() - start


def _optimiser(model: Layer, recipe: Recipe) -> Optimizer:
    spec, rate = recipe.optimiser, recipe.learning_rate
    if isinstance(spec, AdamWSpec):
        return AdamW(
            model.parameters(),
            lr=rate,
            betas=spec.betas,
            eps=spec.epsilon,
            weight_decay=spec.weight_decay,
        )
    return SGD(model.parameters(), lr=rate, momentum=spec.momentum, weight_decay=spec.weight_decay)
