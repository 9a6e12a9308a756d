"""A gate and a bank of experts, as one layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.kernels import dispatch
from fastff.layers.experts import Experts
from fastff.layers.gate import Gate
from fastff.layers.layer import Layer
from fastff.layers.soft_merged import SoftMergedExperts
from fastff.layers.tree_gate import TreeGate


class RoutedLayer(Layer):
    """A layer that routes every input to experts: an FFF with a tree gate, an MoE with a linear.

    In evaluation mode without gradients, kernels compute the chosen experts alone where the hard
    form takes few of them.

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
        self.n_experts = gate.n_experts
        self.training_width = gate.n_experts * experts.hidden_features
        # merged experts are one, however many are merged
        n_active = 1 if isinstance(experts, SoftMergedExperts) else gate.n_active
        self.inference_width = n_active * experts.hidden_features

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., b, o) of inputs (..., b, i).

        `hard` chooses the gate's form; by default soft in training mode, hard in evaluation mode.
        """
        if hard is None:
            hard = not self.training
        out = self._chosen_alone(x) if hard else None
        return self.experts(x, self.gate(x, hard=hard)) if out is None else out

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft form's outputs (..., b, o), and the gate's own loss (...), if any."""
        weights, loss = self.gate.soft_with_loss(x)
        return self.experts(x, weights), loss

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both forms' outputs (2, ..., b, o), and the hard routing (..., b, 1, e).

        Cheaper than two calls: the experts' first product, which is most of the work, is shared.
        """
        hard = self.gate.hard(x)
        outputs: Tensor = self.experts(x, torch.stack([self.gate.soft(x), hard]))
        return outputs, hard.unsqueeze(-2)

    def node_logits(self, x: Tensor) -> Tensor | None:
        """Return the node logits (..., b, 1, n) of a tree gate, or None for another."""
        return self.gate.logits(x).unsqueeze(-2) if isinstance(self.gate, TreeGate) else None

    def node_weights(self) -> tuple[Tensor, Tensor | None] | None:
        """Return a tree gate's weights (..., 1, n, i) and biases (..., 1, n), or None."""
        if not isinstance(self.gate, TreeGate):
            return None
        bias = self.gate.bias
        return self.gate.weight.unsqueeze(-3), None if bias is None else bias.unsqueeze(-2)

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "gate", a unit per node or logit, and the experts' "expert_in", "expert_out"."""
        return {"gate": (self.gate.get_parameter("weight"), 0), **self.experts.units()}

    def _chosen_alone(self, x: Tensor) -> Tensor | None:
        """Return the hard form's outputs (..., b, o) from the kernels, or None where they don't go.

        Merged experts are a chosen expert only if all of the weight is on it.
        """
        gate, experts = self.gate, self.experts
        if not dispatch.applies(self, x, experts.w_in, dims=3):
            return None
        if not dispatch.pays(experts.activation, experts.n_experts, gate.n_active):
            return None
        chosen = gate.chosen(x)
        if chosen is None:
            return None
        expert, scale = chosen
        if scale is not None and isinstance(experts, SoftMergedExperts):
            return None
        return dispatch.chosen_experts(
            x, expert, scale, experts.w_in, experts.w_out, experts.activation,
            experts.b_in, experts.b_out,
        )  # fmt: skip
