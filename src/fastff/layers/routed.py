"""A gate and a bank of experts, as one layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.layers.experts import Experts
from fastff.layers.gate import Gate


class RoutedLayer(nn.Module):
    """A layer that routes every input to experts: an FFF with a tree gate, an MoE with a linear.

    Args:
        gate: gives routing weights (..., b, e).
        experts: combines its experts by these weights; as many experts as the gate has.

    """

    def __init__(self, gate: Gate, experts: Experts) -> None:
        super().__init__()
        if gate.n_experts != experts.n_experts:
            raise ValueError(
                f"the gate routes to {gate.n_experts} experts, the bank has {experts.n_experts}"
            )
        self.gate = gate
        self.experts = experts

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i).

        `hard` chooses the gate's form; by default soft in training mode, hard in evaluation mode.
        """
        out: Tensor = self.experts(x, self.gate(x, hard=hard))
        return out

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft form's outputs (..., b, o), and the gate's own loss (...), if any."""
        weights, loss = self.gate.soft_with_loss(x)
        return self.experts(x, weights), loss

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both forms' outputs (2, ..., b, o), and the hard routing weights (..., b, e).

        Cheaper than two calls: the experts' first product, which is most of the work, is shared.
        """
        hard = self.gate.hard(x)
        outputs: Tensor = self.experts(x, torch.stack([self.gate.soft(x), hard]))
        return outputs, hard
