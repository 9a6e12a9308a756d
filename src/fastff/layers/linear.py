"""The matrix product all layers share, and how their parameters start.

Dimension letters, the same in every file: b batch, r run, i in_features, h hidden, o out_features,
e expert or leaf, n node, s side, k selected.

Every layer works over leading dimensions of its parameters: with weights (r, e, h, i) and inputs
(r, b, i), or (b, i) for all runs alike, it computes r independent models at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """Return `x @ weight.mT` for inputs (..., b, i) and weights (..., o, i): (..., b, o).

    Written as the transpose of `weight @ x.mT`, since the gradient of a batched product's left
    factor comes out in the layout of the weight. The gradient of a transposed right factor does
    not: it is copied, a third of the step's time on a CPU. For the same reason a product of what
    this returns is best taken with `linear` again: it keeps the layout of both gradients.
    """
    return (weight @ x.mT).mT


def uniform_fan_in(
    *shape: int, fan_in: int, generator: torch.Generator | None = None
) -> nn.Parameter:
    """Return a float32 parameter of `shape`, uniform in ±1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
