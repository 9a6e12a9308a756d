"""The training loop: one stack of runs, one recipe, resident data."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import fields

import torch
from torch import Tensor

from fastff.data.dataset import Dataset
from fastff.layers import Layer, Sizes, build_model
from fastff.layers.experts import Experts
from fastff.layers.gate import Gate
from fastff.layers.random import Random
from fastff.spec import PlateauSpec, Point, Recipe, Recording, Variant
from fastff.train.evaluate import Scores, evaluate
from fastff.train.gradients import GradientRecorder
from fastff.train.optimiser import build_optimiser
from fastff.train.results import EpochResult, RunResult
from fastff.train.schedule import Plateau
from fastff.train.seeds import generator
from fastff.train.snapshots import Snapshot, snapshots
from fastff.train.split import Split, split
from fastff.train.stack import stack
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
) -> Training:
    """Train one run per seed, all at once, and return their results in the order of the seeds.

    A generator, so that several stacks can share a device: it yields when it has handed an epoch
    to the device and would wait for it. `results_of` runs it to its end.

    A run's initialisation and data order come from its own seed, and its arithmetic from its own
    slice of every batched operation, so that the runs beside it don't change its result.

    Args:
        variant: the model to train as a classifier of `data`.
        point: its size and settings, one of `variant.points`.
        seeds: one per run.
        recipe: optimiser, schedule, epochs, batch size, split and stopping.
        data: resident on the device to train on.
        record: what to write down beside the epochs' results and the last expert counts.
        record_every: so many epochs lie between two that are recorded.
        on_epoch: called after each epoch with its number (from 1) and the mean train loss.

    Raises:
        ValueError: where the training part is too small for the recipe, or the schedule too
            short.

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

    def take(epochs: list[int], what: Collection[Recording]) -> list[Snapshot]:
        return snapshots(model.eval(), parts.validation, data.n_classes, epochs, what)

    to_record = set(record) - {"gradients"}
    taken = [take([0] * len(seeds), to_record)] if to_record else []
    histories: list[list[EpochResult]] = [[] for _ in seeds]
    for epoch in range(1, recipe.epochs + 1):
        order = torch.stack([torch.randperm(n_samples, generator=g) for g in orders])  # (r, n)
        step.start_epoch(order)
        model.train()
        for _ in range(n_steps):
            step()
        scores = evaluate(model.eval(), parts.validation)
        yield
        metrics = _metrics(step.loss / n_steps, scores)
        for run, history in enumerate(histories):
            values = {name: value[run].item() for name, value in metrics.items()}
            history.append(EpochResult(epoch=epoch, **values))
        if plateau is not None:
            plateau.after_epoch(metrics)
        on_epoch(epoch, metrics["train_loss"].mean().item())
        if stopping is not None:
            stopping.after_epoch(epoch, metrics)
            if stopping.is_over:
                break
        if to_record and epoch % record_every == 0 and epoch < recipe.epochs:
            taken.append(take([epoch] * len(seeds), to_record))

    best_epochs = [len(histories[0])] * len(seeds)
    if stopping is not None:
        stopping.restore()
        best_epochs = stopping.best_epoch.tolist()
        for run, last in enumerate(stopping.stopped_epoch.tolist()):
            del histories[run][last or len(histories[run]) :]
    taken.append(take(best_epochs, {*to_record, "expert_counts"}))
    return [
        RunResult(
            n_parameters=sum(parameter.numel() for parameter in models[run].parameters()),
            training_width=model.training_width,
            inference_width=model.inference_width,
            best_epoch=best_epochs[run],
            epochs=tuple(histories[run]),
            **accuracies,
            snapshots=_until_best([snapshot[run] for snapshot in taken]),
            gradients=None
            if recorder is None
            else recorder.result(run, n_steps * len(histories[run])),
        )
        for run, accuracies in enumerate(_final_accuracies(model, parts, len(seeds)))
    ]


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


def _metrics(train_loss: Tensor, scores: Scores) -> dict[str, Tensor]:
    """Return the metrics of an epoch on the CPU, a number per run each, (r,)."""
    names = [field.name for field in fields(EpochResult) if field.name != "epoch"]
    together = torch.cat([train_loss.unsqueeze(0), scores.loss, scores.accuracy])
    return dict(zip(names, together.cpu(), strict=True))


def _final_accuracies(model: Layer, parts: Split, n_runs: int) -> list[dict[str, float]]:
    """Return each run's accuracies on the training and the test samples, in both forms."""
    found = {"train": evaluate(model, parts.train), "test": evaluate(model, parts.test)}
    return [
        {
            f"{part}_accuracy_{form}": scores.accuracy[place, run].item()
            for part, scores in found.items()
            for place, form in enumerate(("soft", "hard"))
        }
        for run in range(n_runs)
    ]


def _until_best(taken: list[Snapshot]) -> tuple[Snapshot, ...]:
    """Return the snapshots up to the last one's epoch, the last one for good."""
    return (*(one for one in taken[:-1] if one.epoch < taken[-1].epoch), taken[-1])
