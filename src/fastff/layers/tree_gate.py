"""The tree gate of a fast feed-forward layer."""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.layers.gate import Gate, one_hot
from fastff.layers.linear import linear, uniform_fan_in
from fastff.layers.tree import (
    NODE_ACTIVATIONS,
    descend,
    log_form,
    path_matrix,
    product_form,
    transition_form,
)

FORMS = ("product", "log", "transition")


class TreeGate(Gate):
    """Leaf probabilities of a binary tree with one linear logit per node.

    z_j = <w_j, x> (+ b_j), P(right at j) = sigmoid(z_j), p_leaf = the product along its path
    (Belcak & Wattenhofer, *Fast Feedforward Networks*, arXiv 2308.14711, section 2). The hard
    form is one-hot at the leaf reached from the root by going right iff z_j > 0.

    Args:
        in_features: size of an input.
        depth: of the tree, at least 1; it has 2**depth leaves (experts).
        form: how the soft form is computed: "product", "log" or "transition".
        node_activation: of the transition form; with "logsigmoid" all forms are equal.
        bias: whether nodes have a bias.
        generator: draws the initial parameters, uniform in ±1/sqrt(in_features).

    """

    matrix: Tensor

    def __init__(
        self,
        in_features: int,
        depth: int,
        *,
        form: str = "log",
        node_activation: str = "logsigmoid",
        bias: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth = {depth}: must be at least 1")
        if form not in FORMS:
            raise ValueError(f"form = {form!r}: allowed are {', '.join(FORMS)}")
        if node_activation not in NODE_ACTIVATIONS:
            allowed = ", ".join(NODE_ACTIVATIONS)
            raise ValueError(f"node_activation = {node_activation!r}: allowed are {allowed}")
        if form != "transition" and node_activation != "logsigmoid":
            raise ValueError(f"node_activation = {node_activation!r} needs form = 'transition'")
        super().__init__(in_features, 2**depth)
        self.depth = depth
        self.form = form
        self.node_activation = node_activation
        n_nodes = 2**depth - 1
        self.weight = uniform_fan_in(  # (n, i)
            n_nodes, in_features, fan_in=in_features, generator=generator
        )
        self.bias = (  # (n,)
            uniform_fan_in(n_nodes, fan_in=in_features, generator=generator) if bias else None
        )
        if form == "transition":
            self.register_buffer("matrix", path_matrix(depth), persistent=False)

    def logits(self, x: Tensor) -> Tensor:
        """Return the node logits (..., b, n) of inputs (..., b, i)."""
        z = linear(x, self.weight)
        return z if self.bias is None else z + self.bias.unsqueeze(-2)

    def soft(self, x: Tensor) -> Tensor:
        """Return the leaf probabilities (..., b, e); rows sum to 1."""
        z = self.logits(x)
        if self.form == "product":
            return product_form(z)
        if self.form == "log":
            return log_form(z)
        return transition_form(z, self.matrix, self.node_activation)

    def leaf(self, x: Tensor) -> Tensor:
        """Return the leaf (..., b), int64, that each input is routed to."""
        return descend(self.logits(x))

    def hard(self, x: Tensor) -> Tensor:
        """Return weights (..., b, e), one-hot at the leaf that each input is routed to."""
        return one_hot(self.leaf(x), self.n_experts, like=x)
