"""The feed-forward layer: what routed layers are compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.layers.layer import Layer
from fastff.layers.mixture import MixtureExperts


class FeedForward(Layer):
    """One hidden layer, a(x W_inᵀ (+ b_in)) W_out (+ b_out).

    It is a bank of one expert, which every input goes to.

    Args:
        in_features: size of an input.
        hidden_features: hidden units.
        out_features: size of an output.
        activation: "relu", "gelu", "selu", "prelu" or "linear".
        bias: whether hidden units and outputs have a bias, or "hidden" or "output" for one of them.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in).

    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        out_features: int,
        *,
        activation: str = "relu",
        bias: bool | str = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.experts = MixtureExperts(
            1,
            in_features,
            hidden_features,
            out_features,
            activation=activation,
            bias=bias,
            generator=generator,
        )
        self.training_width = self.inference_width = hidden_features

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i); both forms are the same."""
        self.experts.check_inputs(x)
        out: Tensor = self.experts(x, x.new_ones(1))
        return out

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(fan_in)."""
        self.experts.reset_parameters(generator)

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "expert_in" and "expert_out", the one unit of each layer."""
        return self.experts.units()
