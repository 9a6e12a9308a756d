"""A linear map as a layer: the head behind a bottleneck."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.kernels.check import check_inputs
from fastff.layers.layer import Layer
from fastff.layers.linear import linear, uniform_fan_in_


class LinearLayer(Layer):
    """x Wᵀ (+ b).

    Args:
        in_features: size of an input.
        out_features: size of an output.
        bias: whether outputs have a bias.
        generator: draws the initial `weight` (o, i) and `bias` (o,), uniform in
            ±1/sqrt(in_features).

    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(in_features)."""
        for drawn in (self.weight, self.bias):
            if drawn is not None:
                uniform_fan_in_(drawn, self.in_features, generator)

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        weight, bias = self.weight, self.bias
        if weight.dim() != 2:
            out = linear(x, weight)
            return out if bias is None else out + bias.unsqueeze(-2).to(out.dtype)
        check_inputs(x, weight, self.in_features)
        out = linear(x, weight).contiguous()
        return out if bias is None else out + bias.to(out.dtype)
