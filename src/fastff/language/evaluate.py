"""What a trained decoder is worth, and how its layers route."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fastff.language.feed_forward import visited_parts, visits
from fastff.language.model import Decoder


@dataclass(frozen=True)
class Usage:
    """How one block's layer routed a part of the validation text.

    Attributes:
        step: after which.
        layer: the block's number, from 0.
        entropy: in bits, of the share that each expert or leaf got; the mean over trees.
        visited: share of the experts, leaves or nodes that were visited.
        ever_visited: share of those that were at this or an earlier look.
        counts: of visits, of every tree's experts or leaves in a row.

    """

    step: int
    layer: int
    entropy: float
    visited: float
    ever_visited: float
    counts: list[int]


@contextmanager
def evaluating(model: Decoder, autocast: AbstractContextManager[Any]) -> Iterator[None]:
    """Set a model to evaluation mode, uncompiled, and back to training mode."""
    model.eval()
    try:
        with autocast, torch.compiler.set_stance("force_eager"):
            yield
    finally:
        model.train()


def bits_per_byte(model: Decoder, windows: Tensor, batch: int, *, hard: bool) -> float:
    """Return the mean loss of a model, in bits per byte.

    Args:
        model: in evaluation mode.
        windows: (n, t + 1), uint8: bytes, each to be predicted from those before it.
        batch: windows at once.
        hard: the form of the feed-forward layers.

    """
    total = torch.zeros((), dtype=torch.float64, device=windows.device)
    for part in windows.split(batch):
        tokens = part.long()
        logits = model(tokens[:, :-1], hard=hard).flatten(0, 1).float()
        total += F.cross_entropy(logits, tokens[:, 1:].flatten(), reduction="sum")
    return float(total) / windows[:, 1:].numel() / math.log(2)


def usage(
    model: Decoder, windows: Tensor, batch: int, step: int, earlier: Sequence[Usage]
) -> list[Usage]:
    """Return how each block's layer routes windows (n, t + 1); nothing where none does.

    Args:
        model: in evaluation mode.
        windows: of bytes.
        batch: windows at once.
        step: after which it is.
        earlier: the last look's, whose visits count as ever visited.

    """
    layers = model.feed_forwards()
    counts: list[Tensor | None] = [None] * len(layers)
    for part in windows.split(batch):
        tokens = part[:, :-1].long()
        inputs: list[Tensor] = []
        model(tokens, hard=True, inputs=inputs)
        for number, x in enumerate(inputs):
            before = counts[number]
            found = visits(layers[number], x.flatten(0, 1), tokens.flatten())
            if found is not None:
                counts[number] = found if before is None else before + found
    return [
        _used(layers[number], number, step, found.cpu(), earlier)
        for number, found in enumerate(counts)
        if found is not None
    ]


def _used(layer: Any, number: int, step: int, counts: Tensor, earlier: Sequence[Usage]) -> Usage:
    share = counts.double() / counts.sum(-1, keepdim=True)
    before = torch.zeros_like(counts)
    if earlier:
        before = torch.tensor(earlier[number].counts).view(counts.shape)
    ever = counts + before
    visited, n_parts = visited_parts(layer, counts)
    return Usage(
        step=step,
        layer=number,
        entropy=float(torch.special.entr(share).sum(-1).mean()) / math.log(2),
        visited=visited / n_parts,
        ever_visited=visited_parts(layer, ever)[0] / n_parts,
        counts=ever.flatten().tolist(),
    )
