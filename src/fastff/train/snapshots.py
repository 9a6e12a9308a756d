"""What a model does with the samples at one moment: routing, nodes and features."""

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
from fastff.train.evaluate import chunks
from fastff.train.split import Part

N_PROJECTED = 2000  # samples at most whose features are kept
DIGITS = 3  # decimals of a feature: finer than a figure shows


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
            features.append(model.body(x, hard=True)[:, :n])
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
