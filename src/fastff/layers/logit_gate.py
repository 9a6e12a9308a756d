"""What gates of linear logits share: one weight, and a bias or none."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.kernels.check import check_inputs
from fastff.layers.gate import Gate, check_dtype
from fastff.layers.linear import linear, uniform_fan_in_
from fastff.layers.parameter import parameter

LOGIT_ACTIVATIONS = ("linear", "relu")


class LogitGate(Gate):
    """A gate that decides by linear logits, z = W x (+ b), or by their ReLU.

    Args:
        in_features: size of an input, at least 1.
        n_experts: number of experts, at least 1.
        n_logits: rows of `weight`.
        n_active: how many experts the hard form takes for an input.
        n_trained: how many the soft form takes; None is all.
        bias: whether logits have a bias.
        logit_activation: "linear", or "relu" of the logits.
        device: of the parameters.
        dtype: of the parameters.

    Attributes:
        weight: of the logits, (n_logits, i), uniform in ±1/sqrt(in_features) at first.
        bias: of the logits, (n_logits,), likewise; None without.

    """

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        *,
        n_logits: int,
        n_active: int = 1,
        n_trained: int | None = None,
        bias: bool = False,
        logit_activation: str = "linear",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, n_experts, n_active=n_active, n_trained=n_trained)
        check_dtype(dtype)
        if logit_activation not in LOGIT_ACTIVATIONS:
            allowed = ", ".join(LOGIT_ACTIVATIONS)
            raise ValueError(f"logit_activation = {logit_activation!r}: allowed are {allowed}")
        self.logit_activation = logit_activation
        self.weight = nn.Parameter(torch.empty(n_logits, in_features, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(n_logits, device=device, dtype=dtype)) if bias else None
        )

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(in_features), and fill the constants."""
        for drawn in (self.weight, self.bias):
            if drawn is not None:
                uniform_fan_in_(drawn, self.in_features, generator)
        super().reset_parameters(generator)

    def check_inputs(self, x: Tensor) -> None:
        """Raise TypeError or ValueError for inputs (..., i) that a single gate can't take."""
        check_inputs(x, self.weight, self.in_features)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (..., n_logits) of inputs (..., i), before their activation."""
        weight, bias = parameter(self, "weight"), parameter(self, "bias")
        if weight.dim() == 2:
            check_inputs(x, weight, self.in_features)
        z = linear(x, weight)
        if bias is None:
            return z
        biased: Tensor = z + (bias if bias.dim() == 1 else bias.unsqueeze(-2))
        return biased

    def activated_logits(self, x: Tensor) -> Tensor:
        """Return the activations of the logits, (..., n_logits), of inputs (..., i)."""
        z = self.logits(x)
        return z.relu() if self.logit_activation == "relu" else z

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "gate", a unit per logit."""
        return {"gate": (self.weight, 0)}
