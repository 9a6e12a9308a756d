"""What can be recorded of a training: gradients over its steps, and snapshots of its epochs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.config.job import Recording
from fastff.layers import Bottleneck, Layer, NodeTree
from fastff.layers.tree import node_entropies, path_mask
from fastff.train.evaluate import Part, chunks

N_WINDOWS = 100  # points of a curve
N_PROJECTED = 1000  # samples at most whose features are kept
DIGITS = 3  # decimals of a feature: finer than a figure shows


@dataclass(frozen=True)
class Gradients:
    """Smoothed mean absolute gradients: by part, a list per window of a number per unit."""

    last_steps: list[int]
    parts: dict[str, list[list[float]]]


class GradientRecorder:
    """Mean absolute gradients of a stack, smoothed by averaging over windows of steps.

    Parts and their units are those of `Layer.units`. Nothing is moved off the device before
    `result`.

    Args:
        model: a stack of r runs.
        n_steps: how many steps there will be at most; windows are as even as they can be.

    """

    def __init__(self, model: Layer, n_steps: int) -> None:
        self.parameters = model.units()
        n_windows = min(N_WINDOWS, n_steps)
        self.ends = [n_steps * (window + 1) // n_windows for window in range(n_windows)]
        self.step = self.in_window = 0
        self.sums = {
            part: torch.zeros_like(self._magnitude(parameter.detach(), unit))
            for part, (parameter, unit) in self.parameters.items()
        }
        self.windows: dict[str, list[Tensor]] = {part: [] for part in self.parameters}

    def accumulate(self) -> None:
        """Add the gradients of one step to the window, after the backward pass."""
        for part, (parameter, unit) in self.parameters.items():
            # a gate that trains hard gets no gradient at all
            if parameter.grad is not None:
                self.sums[part] += self._magnitude(parameter.grad, unit)

    def advance(self) -> None:
        """Count the step whose gradients were added, and close the window after its last."""
        self.step += 1
        self.in_window += 1
        if self.step in self.ends:
            for part, total in self.sums.items():
                self.windows[part].append(total / self.in_window)
                total.zero_()
            self.in_window = 0

    def result(self, run: int, n_steps: int) -> Gradients:
        """Return one run's curves over its first `n_steps` steps."""
        ends = [end for end in self.ends if end <= min(n_steps, self.step)]
        parts = {
            part: [_rounded(window[run]) for window in windows[: len(ends)]]
            for part, windows in self.windows.items()
            if ends
        }
        return Gradients(ends, parts)

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {
            "step": self.step,
            "in_window": self.in_window,
            "sums": self.sums,
            "windows": {part: list(windows) for part, windows in self.windows.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was."""
        self.step, self.in_window = state["step"], state["in_window"]
        for part, total in self.sums.items():
            total.copy_(state["sums"][part])
        self.windows = {part: list(windows) for part, windows in state["windows"].items()}

    @staticmethod
    def _magnitude(gradient: Tensor, unit: int) -> Tensor:
        """Return the mean absolute entry of each unit, which dimension `unit` counts, (r, u)."""
        by_unit = gradient.abs().movedim(1 + unit, 1)
        return by_unit.reshape(*by_unit.shape[:2], -1).mean(-1)


def _rounded(values: Tensor) -> list[float]:
    """Return numbers with as many digits as float32 has: more would only fill a table."""
    return [float(f"{value:.7g}") for value in values.tolist()]


@dataclass(frozen=True)
class Snapshot:
    """One run after one epoch; epoch 0 is before training. What isn't recorded is empty.

    Attributes:
        expert_counts: samples that the hard form routes to each expert, by class, (t, e, c).
        visits: samples that pass each node, (t, n).
        entropy: mean entropy of each node's decision in nats, (t, n); empty where nodes decide
            without probabilities.
        lines: weights and bias of each node whose inputs are a plane, (t, n, 3).
        features: of the first samples, (m, 2).
        experts: where the first tree routes these samples, (m,).
        classes: their labels, (m,).

    """

    epoch: int
    expert_counts: list[list[list[int]]] = field(default_factory=list)
    visits: list[list[int]] = field(default_factory=list)
    entropy: list[list[float]] = field(default_factory=list)
    lines: list[list[list[float]]] = field(default_factory=list)
    features: list[list[float]] = field(default_factory=list)
    experts: list[int] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)


@torch.no_grad()
def snapshots(
    model: Layer, part: Part, n_classes: int, epochs: list[int], record: Collection[Recording]
) -> list[Snapshot]:
    """Return what `record` names of each of a stack's runs, in evaluation mode.

    Args:
        model: a stack of r runs.
        part: the samples to look at.
        n_classes: of the labels.
        epochs: the epoch whose parameters each run has, r numbers.
        record: which parts of a snapshot to fill.

    """
    counts: list[Tensor] = []
    visits: list[Tensor] = []
    entropies: list[Tensor] = []
    features: list[Tensor] = []
    experts: list[Tensor] = []
    for x, y in chunks(model, part):
        n = len(y)
        routing = model.soft_and_hard(x)[1][:, :n]  # (r, b, t, e)
        if "expert_counts" in record:
            by_class = F.one_hot(y, n_classes).to(routing.dtype)  # (b, c)
            counts.append(((routing > 0).to(routing.dtype).movedim(1, -1) @ by_class).long())
        if "nodes" in record and (z := model.node_logits(x)) is not None:
            visits.append(path_mask(z[:, :n]).sum(1).long())  # (r, t, n)
            entropies.append(node_entropies(z[:, :n]).double().sum(1))
        if "projections" in record and isinstance(model, Bottleneck):
            features.append(model.features(x, hard=True)[:, :n])
            experts.append(routing[:, :, 0].argmax(-1))

    found: dict[str, Tensor] = {}
    if counts:
        found["expert_counts"] = torch.stack(counts).sum(0)
    if visits:
        found["visits"] = torch.stack(visits).sum(0)
        if not isinstance(_routed(model), NodeTree):
            found["entropy"] = torch.stack(entropies).sum(0) / len(part.labels)
        if (lines := _lines(model)) is not None:
            found["lines"] = lines
    if features:
        found["features"] = torch.cat(features, 1)[:, :N_PROJECTED].double().round(decimals=DIGITS)
        found["experts"] = torch.cat(experts, 1)[:, :N_PROJECTED]
        found["classes"] = part.labels[:N_PROJECTED].expand(len(epochs), -1)
    values: dict[str, list[Any]] = {key: tensor.tolist() for key, tensor in found.items()}
    return [
        Snapshot(epoch, **{key: value[run] for key, value in values.items()})
        for run, epoch in enumerate(epochs)
    ]


@torch.no_grad()
def soft_choices(model: Layer, part: Part) -> Tensor | None:
    """Return how many samples each run's experts are the choice of, (r, e), int64.

    A sample's choice is the expert of its largest soft weight, the first of equal ones. On training
    samples and in training mode, so that regions leak and gates have their noise, it is what the
    FastFF study counted; but the study's parameters moved on through the last epoch, and these
    stand still. A gate draws what is random from its `random`; nothing else of the model changes.

    Args:
        model: a stack of r runs, in the mode to count in.
        part: the samples to look at.

    Returns:
        The counts, or None for a model without a gate.

    """
    counts: list[Tensor] = []
    for x, y in chunks(model, part):
        weights = model.soft_weights(x)  # (r, b, e)
        if weights is None:
            return None
        chosen = weights[:, : len(y)].argmax(-1, keepdim=True)
        counts.append((chosen == torch.arange(weights.shape[-1], device=chosen.device)).sum(1))
    return torch.stack(counts).sum(0)


def _routed(model: Layer) -> Layer:
    return model.routed if isinstance(model, Bottleneck) else model


def _lines(model: Layer) -> Tensor | None:
    """Return the nodes' weights and biases (r, t, n, 3) where their inputs are a plane."""
    parameters = model.node_weights()
    if parameters is None or parameters[0].shape[-1] != 2:
        return None
    weight, bias = parameters
    bias = torch.zeros_like(weight[..., 0]) if bias is None else bias
    return torch.cat([weight, bias.unsqueeze(-1)], dim=-1)
