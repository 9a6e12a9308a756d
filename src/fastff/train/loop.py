"""The training loop: one stack of runs, one recipe, resident data."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from fastff.config.job import Recording
from fastff.config.model import ModelSpec
from fastff.config.recipe import PhaseSpec, PlateauSpec, Recipe
from fastff.data.dataset import Dataset
from fastff.layers import Layer, TreeGate
from fastff.layers.experts import Experts
from fastff.layers.gate import Gate
from fastff.layers.linear import Random
from fastff.train.augmentation import Augmentation
from fastff.train.build import Sizes, build_model, count_parameters, stack
from fastff.train.checkpoint import Checkpoint
from fastff.train.device import Stream, generator
from fastff.train.evaluate import Part, Scores, Split, evaluate, split
from fastff.train.graceful_shutdown import StoppedError
from fastff.train.optimiser import Plateau, build_optimiser
from fastff.train.recording import GradientRecorder, Snapshot, snapshots, soft_choices
from fastff.train.results import EpochResult, RunResult
from fastff.train.stack_state import StackState
from fastff.train.step import Step
from fastff.train.stopping import EarlyStopping, Failures
from fastff.train.vision_transformer import VisionTransformer

Training = Generator[None, None, list[RunResult]]


def train_stack(
    spec: ModelSpec,
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
        spec: the model to train as a classifier of `data`; it leaves nothing open.
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
    models = [_build(spec, seed, data) for seed in seeds]
    model = stack(models).to(device)
    random = _draw_from(model, seeds, "noise")
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
    augmentation = None
    if recipe.augmentation is not None:
        drawn = Random([generator(seed, "augmentation", device) for seed in seeds])
        augmentation = Augmentation(recipe.augmentation, data.image_shape, drawn)
    step = Step(
        model,
        optimiser,
        parts.train,
        (n_steps, batch_size),
        recorder=recorder,
        random=random,
        augmentation=augmentation,
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
        generators=[*orders, *step.generators],
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
        set_loss_weights(model, recipe.phase_of(epoch))
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
    return outcomes(state, models, seeds, parts, data.n_classes, to_record, n_steps)


def results_of(training: Training) -> list[RunResult]:
    """Run a stack's training to its end, and return its results."""
    while True:
        try:
            next(training)
        except StopIteration as end:
            results: list[RunResult] = end.value
            return results


def _build(spec: ModelSpec, seed: int, data: Dataset) -> Layer:
    return build_model(spec, Sizes.of(data), generator=generator(seed, "initialisation"))


def _draw_from(model: Layer, seeds: Sequence[int], stream: Stream) -> Random:
    """Let the runs of a stack draw from a stream of their own each, from its start."""
    device = next(model.parameters()).device
    random = Random([generator(seed, stream, device) for seed in seeds])
    for module in model.modules():
        if isinstance(module, Gate | Experts | VisionTransformer):
            module.random = random
    return random


def set_loss_weights(model: Layer, phase: PhaseSpec | None) -> None:
    """Give all trees of a stack a phase's weights of their losses, which a captured step reads."""
    if phase is None:
        return
    for module in model.modules():
        if isinstance(module, TreeGate):
            if phase.hardening_weight is not None:
                module.set_hardening(phase.hardening_weight)
            if phase.balance_weight is not None:
                module.set_balance(phase.balance_weight)


def _mean_loss(histories: Sequence[Sequence[EpochResult]], epoch: int) -> float:
    """Return the mean train loss of an epoch over the runs that got so far, NaN for none."""
    losses = [history[epoch - 1].train_loss for history in histories if len(history) >= epoch]
    return math.fsum(losses) / len(losses) if losses else math.nan


def _metrics(train_loss: Tensor, scores: Scores) -> dict[str, Tensor]:
    """Return the metrics of an epoch on the CPU, a number per run each, (r,)."""
    names = [field.name for field in fields(EpochResult) if field.name != "epoch"]
    together = torch.cat([train_loss.unsqueeze(0), scores.loss, scores.accuracy])
    return dict(zip(names, together.cpu(), strict=True))


def outcomes(
    state: StackState,
    models: Sequence[Layer],
    seeds: Sequence[int],
    parts: Split,
    n_classes: int,
    record: Collection[Recording],
    n_steps: int,
) -> list[RunResult]:
    """Return the results of a stack's r runs, each of its best epoch; of a failed one, why.

    Args:
        state: after the last epoch.
        models: the r models that were stacked.
        seeds: of the runs.
        parts: the samples.
        n_classes: of the labels.
        record: what is written down of the best epoch beside the expert counts.
        n_steps: of an epoch.

    """
    best_epochs = [state.epoch] * len(models)
    if state.stopping is not None:
        state.stopping.restore()
        best_epochs = state.stopping.best_epoch.tolist()
        for run, last in enumerate(state.stopping.stopped_epoch.tolist()):
            del state.histories[run][last or len(state.histories[run]) :]
    what: set[Recording] = {*record, "expert_counts"}
    last = snapshots(state.model.eval(), parts.validation, n_classes, best_epochs, what)
    accuracies = _accuracies(state.model, parts, len(models))
    choices = _choices(state.model, parts.train, seeds)
    results = []
    for run, failure in enumerate(state.failures.by_run):
        history = state.histories[run]
        always: dict[str, Any] = {
            "n_parameters": count_parameters(models[run]),
            "training_width": state.model.training_width,
            "inference_width": state.model.inference_width,
            "epochs": tuple(history),
        }
        if failure is not None:
            results.append(RunResult(**always, best_epoch=None, failure=failure))
            continue
        recorder = state.recorder
        gradients = None if recorder is None else recorder.result(run, n_steps * len(history))
        taken = [snapshots_of[run] for snapshots_of in state.taken]
        results.append(
            RunResult(
                **always,
                **accuracies[run],
                **choices[run],
                best_epoch=best_epochs[run],
                snapshots=_until_best(taken, last[run]),
                gradients=gradients,
            )
        )
    return results


def _accuracies(model: Layer, parts: Split, n_runs: int) -> list[dict[str, Any]]:
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


def _choices(model: Layer, part: Part, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return how each run's soft choices of training samples spread; nothing without a gate.

    The model is in training mode afterwards, and has drawn from a stream for this alone.
    """
    _draw_from(model, seeds, "choices")
    counts = soft_choices(model.train(), part)
    if counts is None:
        return [{} for _ in seeds]
    entropy = torch.special.entr(counts.cpu().double() / len(part.labels)).sum(-1) / math.log(2)
    used = (counts > 0).sum(-1)
    return [
        {"train_choice_entropy": bits, "train_choice_experts": n_used}
        for bits, n_used in zip(entropy.tolist(), used.tolist(), strict=True)
    ]


def _until_best(taken: Sequence[Snapshot], best: Snapshot) -> tuple[Snapshot, ...]:
    """Return the snapshots before the best epoch, and that of it for good."""
    return (*(one for one in taken if one.epoch < best.epoch), best)
