"""A linear map as a layer: the head behind a bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.layers.layer import Layer
from fastff.layers.linear import linear, uniform_fan_in


class LinearLayer(Layer):
    """x Wᵀ, without bias.

    Args:
        in_features: size of an input.
        out_features: size of an output.
        generator: draws the initial `weight` (o, i), uniform in ±1/sqrt(in_features).

    """

    def __init__(
        self, in_features: int, out_features: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.weight = uniform_fan_in(
            out_features, in_features, fan_in=in_features, generator=generator
        )

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        out = linear(x, self.weight)
        return out.contiguous() if self.weight.dim() == 2 else out
