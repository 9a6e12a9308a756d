"""The training loop: one stack of runs, one recipe, resident data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.data.dataset import Dataset
from fastff.layers import RoutedLayer, build_layer
from fastff.layers.random import Random
from fastff.spec import Recipe, Recording, Shape, Variant
from fastff.train.evaluate import Evaluation, evaluate
from fastff.train.gradients import GradientRecorder
from fastff.train.optimiser import build_optimiser
from fastff.train.results import EpochResult, RunResult
from fastff.train.seeds import generator
from fastff.train.stack import stack


def train_stack(
    variant: Variant,
    shape: Shape,
    seeds: Sequence[int],
    recipe: Recipe,
    data: Dataset,
    *,
    record: Sequence[Recording] = (),
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
) -> list[RunResult]:
    """Train one run per seed, all at once, and return their results in the order of the seeds.

    A run's initialisation and data order come from its own seed, and its arithmetic from its own
    slice of every batched operation, so that the runs beside it don't change its result.

    Args:
        variant: the layer to train as a classifier of `data`.
        shape: its size.
        seeds: one per run.
        recipe: optimiser, schedule, epochs and batch size.
        data: resident on the device to train on.
        record: what to write down beside the epochs' results.
        on_epoch: called after each epoch with its number (from 1) and the mean train loss.

    Raises:
        ValueError: where the training part is smaller than one batch, or the schedule too short.

    """
    n_samples, batch_size = len(data.train_labels), recipe.batch_size
    if n_samples < batch_size:
        raise ValueError(
            f"recipe: batch_size = {batch_size}: at most the {n_samples} training samples "
            f"of {data.name} are allowed"
        )
    steps = n_samples // batch_size
    models = [_build(variant, shape, seed, data) for seed in seeds]
    n_parameters = sum(parameter.numel() for parameter in models[0].parameters())
    model = stack(models).to(data.train_inputs.device)
    random = Random([generator(seed, "noise") for seed in seeds])
    model.gate.random = model.experts.random = random
    optimiser, schedule = build_optimiser(model.parameters(), recipe, recipe.epochs * steps)
    recorder = None
    if "gradients" in record:
        recorder = GradientRecorder(model, recipe.epochs * steps)
    orders = [generator(seed, "order") for seed in seeds]

    epochs: list[list[EpochResult]] = [[] for _ in seeds]
    for epoch in range(1, recipe.epochs + 1):
        order = torch.stack([torch.randperm(n_samples, generator=g) for g in orders])  # (r, n)
        batches = order[:, : steps * batch_size].to(data.train_inputs.device).split(batch_size, 1)
        loss = torch.zeros(len(seeds), dtype=torch.float64, device=data.train_inputs.device)
        model.train()
        for step, batch in enumerate(batches):
            if epoch > 1 or step > 0:
                schedule.step()
            loss += _step(model, optimiser, data, batch, recorder)
        train_loss = loss.cpu() / steps
        model.eval()
        held_out = evaluate(model, data.validation_inputs, data.validation_labels, data.n_classes)
        for run, history in enumerate(epochs):
            history.append(_epoch_result(epoch, run, train_loss, held_out))
        on_epoch(epoch, train_loss.mean().item())

    return [
        RunResult(
            n_parameters=n_parameters,
            epochs=tuple(history),
            expert_counts=held_out.expert_counts[run].long().tolist(),
            gradients=None if recorder is None else recorder.result(run),
        )
        for run, history in enumerate(epochs)
    ]


def _build(variant: Variant, shape: Shape, seed: int, data: Dataset) -> RoutedLayer:
    return build_layer(
        variant,
        in_features=data.in_features,
        hidden_features=shape.hidden_features,
        out_features=data.n_classes,
        depth=shape.depth,
        generator=generator(seed, "initialisation"),
    )


def _step(
    model: RoutedLayer,
    optimiser: torch.optim.Optimizer,
    data: Dataset,
    batch: Tensor,
    recorder: GradientRecorder | None,
) -> Tensor:
    """Take one optimiser step on the samples `batch` (r, b); return their cross-entropy (r,)."""
    # index_select over one flat index is several times faster on a CPU than x[batch]
    x = data.train_inputs.index_select(0, batch.flatten()).view(*batch.shape, -1)  # (r, b, i)
    y = data.train_labels.index_select(0, batch.flatten())
    optimiser.zero_grad()
    outputs, gate_loss = model.soft_with_loss(x)
    loss = F.cross_entropy(outputs.flatten(0, 1), y, reduction="none").view(batch.shape).mean(-1)
    (loss if gate_loss is None else loss + gate_loss).sum().backward()
    if recorder is not None:
        recorder.add()
    optimiser.step()
    return loss.detach()


def _epoch_result(epoch: int, run: int, train_loss: Tensor, held_out: Evaluation) -> EpochResult:
    (soft_loss, hard_loss), (soft, hard) = held_out.loss[:, run], held_out.accuracy[:, run]
    return EpochResult(
        epoch=epoch,
        train_loss=train_loss[run].item(),
        validation_loss=soft_loss.item(),
        validation_loss_hard=hard_loss.item(),
        accuracy_soft=soft.item(),
        accuracy_hard=hard.item(),
    )
