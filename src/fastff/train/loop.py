"""The training loop: one stack of runs, one recipe, resident data."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from fastff.config.grid import Point
from fastff.config.job import Recording
from fastff.config.model import Variant
from fastff.config.recipe import PlateauSpec, Recipe
from fastff.data.dataset import Dataset
from fastff.layers import Layer
from fastff.layers.experts import Experts
from fastff.layers.gate import Gate
from fastff.layers.linear import Random
from fastff.train.build import Sizes, build_model
from fastff.train.checkpoint import Checkpoint
from fastff.train.evaluate import Scores, evaluate
from fastff.train.failure import Failures
from fastff.train.gradients import GradientRecorder
from fastff.train.interrupt import StoppedError
from fastff.train.optimiser import build_optimiser
from fastff.train.outcome import outcomes
from fastff.train.results import EpochResult, RunResult
from fastff.train.schedule import Plateau
from fastff.train.seeds import generator
from fastff.train.snapshots import snapshots
from fastff.train.split import split
from fastff.train.stack import stack
from fastff.train.state import StackState
from fastff.train.step import Step
from fastff.train.stopping import EarlyStopping

Training = Generator[None, None, list[RunResult]]


def train_stack(
    variant: Variant,
    point: Point,
    seeds: Sequence[int],
    recipe: Recipe,
    data: Dataset,
    *,
    record: Collection[Recording] = (),
    record_every: int = 1,
    on_epoch: Callable[[int, float], None] = lambda epoch, loss: None,
    checkpoint: Checkpoint | None = None,
) -> Training:
    """Train one run per seed, all at once, and return their results in the order of the seeds.

    A generator, so that several stacks can share a device: it yields when it has handed an epoch
    to the device and would wait for it. `results_of` runs it to its end.

    A run's initialisation and data order come from its own seed, and its arithmetic from its own
    slice of every batched operation, so that the runs beside it don't change its result: neither
    do those whose loss becomes NaN or infinite, which is looked for after every epoch.

    Args:
        variant: the model to train as a classifier of `data`.
        point: its size and settings, one of `variant.points`.
        seeds: one per run.
        recipe: optimiser, schedule, epochs, batch size, split and stopping.
        data: resident on the device to train on.
        record: what to write down beside the epochs' results and the last expert counts.
        record_every: so many epochs lie between two that are recorded.
        on_epoch: called after each epoch with its number (from 1) and the mean train loss of the
            runs that have not failed.
        checkpoint: where to go on from, and where to write what a restart goes on from.

    Raises:
        ValueError: where the training part is too small for the recipe, or the schedule too
            short.
        StoppedError: after an epoch, where the checkpoint's stop was asked for.

    """
    device = data.train_inputs.device
    parts = split(data, recipe)
    n_samples, batch_size = len(parts.train.labels), recipe.batch_size
    n_steps = n_samples // batch_size
    models = [_build(variant, point, seed, data) for seed in seeds]
    model = stack(models).to(device)
    random = Random([generator(seed, "noise", device) for seed in seeds])
    for module in model.modules():
        if isinstance(module, Gate | Experts):
            module.random = random
    plateau = None
    if isinstance(recipe.schedule, PlateauSpec):
        plateau = Plateau(recipe.schedule, len(seeds), device)
    optimiser = build_optimiser(
        list(model.parameters()),
        recipe,
        recipe.epochs * n_steps,
        None if plateau is None else plateau.scale,
    )
    recorder = None
    if "gradients" in record:
        recorder = GradientRecorder(model, recipe.epochs * n_steps)
    stopping = None
    if recipe.early_stopping is not None:
        stopping = EarlyStopping(recipe.early_stopping, model)
    step = Step(
        model,
        optimiser,
        parts.train,
        (n_steps, batch_size),
        recorder=recorder,
        random=random,
    )
    orders = [generator(seed, "order") for seed in seeds]
    state = StackState(
        model=model,
        optimiser=optimiser,
        step=step,
        failures=Failures(len(seeds)),
        plateau=plateau,
        recorder=recorder,
        stopping=stopping,
        generators=[*orders, *(random.generators or ())],
        histories=[[] for _ in seeds],
    )

    to_record = set(record) - {"gradients"}

    def take() -> None:
        epochs = [state.epoch] * len(seeds)
        found = snapshots(model.eval(), parts.validation, data.n_classes, epochs, to_record)
        state.taken.append(found)

    saved = None if checkpoint is None else checkpoint.load()
    if saved is not None:
        state.load_state_dict(saved)
        for epoch in range(1, state.epoch + 1):
            on_epoch(epoch, _mean_loss(state.histories, epoch))
    elif to_record:
        take()
    for epoch in range(state.epoch + 1, recipe.epochs + 1):
        order = torch.stack([torch.randperm(n_samples, generator=g) for g in orders])  # (r, n)
        step.start_epoch(order)
        model.train()
        for _ in range(n_steps):
            step()
        scores = evaluate(model.eval(), parts.validation)
        yield
        metrics = _metrics(step.loss / n_steps, scores)
        state.epoch = epoch
        state.failures.after_epoch(epoch, metrics, step.last_loss)
        for run, history in enumerate(state.histories):
            if state.failures.by_run[run] is None:
                values = {name: value[run].item() for name, value in metrics.items()}
                history.append(EpochResult(epoch=epoch, **values))
        if plateau is not None:
            plateau.after_epoch(metrics)
        on_epoch(epoch, _mean_loss(state.histories, epoch))
        if stopping is not None:
            stopping.after_epoch(epoch, metrics)
            stopping.drop(epoch, state.failures.mask)
            if stopping.is_over:
                break
        if all(state.failures.by_run):
            break
        if to_record and epoch % record_every == 0 and epoch < recipe.epochs:
            take()
        if checkpoint is not None and epoch < recipe.epochs and checkpoint.is_due():
            checkpoint.save(state.state_dict())
            if checkpoint.stop.is_made:
                raise StoppedError
    return outcomes(state, models, parts, data.n_classes, to_record, n_steps)


def results_of(training: Training) -> list[RunResult]:
    """Run a stack's training to its end, and return its results."""
    while True:
        try:
            next(training)
        except StopIteration as end:
            results: list[RunResult] = end.value
            return results


def _build(variant: Variant, point: Point, seed: int, data: Dataset) -> Layer:
    sizes = Sizes(data.in_features, data.n_classes, point, data.image_shape)
    return build_model(variant, sizes, generator=generator(seed, "initialisation"))


def _mean_loss(histories: Sequence[Sequence[EpochResult]], epoch: int) -> float:
    """Return the mean train loss of an epoch over the runs that got so far, NaN for none."""
    losses = [history[epoch - 1].train_loss for history in histories if len(history) >= epoch]
    return math.fsum(losses) / len(losses) if losses else math.nan


def _metrics(train_loss: Tensor, scores: Scores) -> dict[str, Tensor]:
    """Return the metrics of an epoch on the CPU, a number per run each, (r,)."""
    names = [field.name for field in fields(EpochResult) if field.name != "epoch"]
    together = torch.cat([train_loss.unsqueeze(0), scores.loss, scores.accuracy])
    return dict(zip(names, together.cpu(), strict=True))
