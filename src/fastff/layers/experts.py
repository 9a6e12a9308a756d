"""What a bank of experts is: n small MLPs whose outputs routing weights combine."""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.layers.linear import linear, uniform_fan_in
from fastff.layers.random import Random

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "selu": F.selu,
    "linear": lambda hidden: hidden,
}
PRELU_SLOPE = 0.25  # where it starts, as in torch.nn.PReLU


class Experts(nn.Module, abc.ABC):
    """`n_experts` MLPs with one hidden layer: E_e(x) = a(x W_in,eᵀ + b_in,e) W_out,e + b_out,e.

    Parameters have a row per hidden unit: `w_in` (e, h, i) and `w_out` (e, h, o), so that an
    expert's weights are one block of memory.

    Args:
        n_experts: number of experts.
        in_features: size of an input.
        hidden_features: hidden units of one expert.
        out_features: size of an output.
        activation: "relu", "gelu", "selu", "linear", or "prelu", whose slope every expert learns.
        dropout: in training mode, the probability with which a hidden unit is left out for a
            sample, after the activation; the others are scaled up by 1 / (1 - dropout).
        bias: whether hidden units and outputs have a bias.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in).

    """

    has_slopes = True

    def __init__(
        self,
        n_experts: int,
        in_features: int,
        hidden_features: int,
        out_features: int,
        *,
        activation: str = "relu",
        dropout: float = 0.0,
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = {
            "n_experts": n_experts,
            "in_features": in_features,
            "hidden_features": hidden_features,
            "out_features": out_features,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} = {size}: must be at least 1")
        allowed = [*ACTIVATIONS, "prelu"] if self.has_slopes else [*ACTIVATIONS]
        if activation not in allowed:
            raise ValueError(f"activation = {activation!r}: allowed are {', '.join(allowed)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout = {dropout}: must be at least 0 and below 1")
        self.n_experts = n_experts
        self.hidden_features = hidden_features
        self.activation = activation
        self.dropout = dropout
        self.random = Random()

        def draw(*shape: int, fan_in: int) -> nn.Parameter:
            return uniform_fan_in(*shape, fan_in=fan_in, generator=generator)

        e, i, h, o = n_experts, in_features, hidden_features, out_features
        self.w_in = draw(e, h, i, fan_in=i)
        self.w_out = draw(e, h, o, fan_in=h)
        self.b_in = draw(e, h, fan_in=i) if bias else None
        self.b_out = draw(e, o, fan_in=h) if bias else None
        learns_slope = activation == "prelu"
        self.slope = nn.Parameter(torch.full((e, 1), PRELU_SLOPE)) if learns_slope else None

    @abc.abstractmethod
    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i) and routing weights (..., b, e)."""

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return every expert's hidden units before activation, (..., b, e, h)."""
        hidden: Tensor = linear(x, self.w_in.flatten(-3, -2)).unflatten(-1, self.w_in.shape[-3:-1])
        return hidden if self.b_in is None else hidden + self.b_in.unsqueeze(-3)

    def activate(self, hidden: Tensor) -> Tensor:
        """Return the activations of hidden units (..., b, e, h), in training with dropout."""
        if self.slope is None:
            hidden = ACTIVATIONS[self.activation](hidden)
        else:
            hidden = torch.where(hidden > 0, hidden, self.slope.unsqueeze(-3) * hidden)
        if not self.training or self.dropout == 0:
            return hidden
        return hidden * (self.random.uniform(hidden) >= self.dropout) / (1 - self.dropout)

    def combine(self, weighted: Tensor, weights: Tensor) -> Tensor:
        """Return Σ_e weighted_e W_out,e + weights_e b_out,e, (..., b, o).

        Args:
            weighted: hidden units times their expert's routing weight, (..., b, e, h).
            weights: the routing weights (..., b, e), for the biases.

        """
        out = linear(weighted.flatten(-2), self.w_out.flatten(-3, -2).mT)
        return out if self.b_out is None else out + weights @ self.b_out

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "expert_in" and "expert_out", a unit per expert, as `Layer.units` does."""
        return {"expert_in": (self.w_in, 0), "expert_out": (self.w_out, 0)}
