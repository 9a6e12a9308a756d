"""The tree gate of a fast feed-forward layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastff.kernels import dispatch
from fastff.layers.gate import Gate, check_top_k, one_hot, softmax_top_k
from fastff.layers.linear import linear, uniform_fan_in
from fastff.layers.tree import (
    NODE_ACTIVATIONS,
    descend,
    log_form,
    node_entropies,
    path_matrix,
    product_form,
    transition_form,
)

FORMS = ("product", "log", "transition", "learned_transition")
SMALLEST = torch.finfo(torch.float32).tiny  # a probability of 0 has no logarithm


class TreeGate(Gate):
    """Leaf probabilities of a binary tree with one linear logit per node.

    z_j = <w_j, x> (+ b_j), P(right at j) = sigmoid(z_j), p_leaf = the product along its path
    (Belcak & Wattenhofer, *Fast Feedforward Networks*, arXiv 2308.14711, section 2). The hard
    form is one-hot at the leaf reached from the root by going right iff z_j > 0.

    Forms of the soft weights, equal for the log-sigmoid:

    - "product", "log": the product of sigmoids, and its logarithm as a sum, level by level;
    - "transition": softmax(a([-z, z]) Tᵀ) with the 0/1 matrix T of the paths;
    - "learned_transition": the same with learned non-negative weights in place of T's ones, which
      they start from (FastFF, 2024).

    Args:
        in_features: size of an input.
        depth: of the tree, at least 1; it has 2**depth leaves (experts).
        form: how the soft weights are computed, see above.
        node_activation: a of the transition forms: "logsigmoid", "softplus", "relu" or "linear".
        bias: whether nodes have a bias.
        top_k: number of leaves kept in the soft form; None keeps all. The hard form is one leaf.
        renormalise: softmax over the kept leaves only. Needs `top_k`.
        region_leak: in training mode, the probability with which a node's two sides are swapped,
            for each sample on its own (section 2.3 of the paper).
        hardening_weight: of the hardening loss, the batch mean of the summed node entropies.
        hard_training: train with the hard form: leaves learn, nodes get no gradient.
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
        top_k: int | None = None,
        renormalise: bool = False,
        region_leak: float = 0.0,
        hardening_weight: float = 0.0,
        hard_training: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth = {depth}: must be at least 1")
        if form not in FORMS:
            raise ValueError(f"form = {form!r}: allowed are {', '.join(FORMS)}")
        if node_activation not in NODE_ACTIVATIONS:
            allowed = ", ".join(NODE_ACTIVATIONS)
            raise ValueError(f"node_activation = {node_activation!r}: allowed are {allowed}")
        if "transition" not in form and node_activation != "logsigmoid":
            raise ValueError(f"node_activation = {node_activation!r} needs form = 'transition'")
        if not 0 <= region_leak <= 1:
            raise ValueError(f"region_leak = {region_leak}: must be between 0 and 1")
        check_top_k(top_k, 2**depth, renormalise=renormalise)
        super().__init__(in_features, 2**depth)
        self.depth = depth
        self.form = form
        self.node_activation = node_activation
        self.top_k = top_k
        self.renormalise = renormalise
        self.region_leak = region_leak
        self.hardening_weight = hardening_weight
        self.hard_training = hard_training
        n_nodes = 2**depth - 1
        self.weight = uniform_fan_in(  # (n, i)
            n_nodes, in_features, fan_in=in_features, generator=generator
        )
        self.bias = (  # (n,)
            uniform_fan_in(n_nodes, fan_in=in_features, generator=generator) if bias else None
        )
        if "transition" in form:
            self.register_buffer("matrix", path_matrix(depth), persistent=False)
        if form == "learned_transition":
            self.transition = nn.Parameter(path_matrix(depth))  # (e, s n)

    def logits(self, x: Tensor) -> Tensor:
        """Return the node logits (..., b, n) of inputs (..., b, i), without region leak."""
        z = linear(x, self.weight)
        return z if self.bias is None else z + self.bias.unsqueeze(-2)

    def soft(self, x: Tensor) -> Tensor:
        """Return the leaf weights (..., b, e); rows sum to 1, with a plain `top_k` at most to 1."""
        return self._weights(self._training_logits(x))

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft weights, and in training mode the weighted hardening loss (...)."""
        z = self._training_logits(x)
        if not self.training or self.hardening_weight == 0:
            return self._weights(z), None
        return self._weights(z), self.hardening_weight * node_entropies(z).sum(-1).mean(-1)

    def leaf(self, x: Tensor) -> Tensor:
        """Return the leaf (..., b), int64, that each input is routed to."""
        if dispatch.applies(self, x, self.weight, dims=2):
            return dispatch.route(x, self.weight, self.bias)
        return descend(self.logits(x))

    def chosen(self, x: Tensor) -> tuple[Tensor, None]:
        """Return the leaf that each input is routed to, (..., b, 1), its weight being 1."""
        return self.leaf(x).unsqueeze(-1), None

    def hard(self, x: Tensor) -> Tensor:
        """Return weights (..., b, e), one-hot at the leaf that each input is routed to."""
        return one_hot(self.leaf(x), self.n_experts, like=x)

    def _training_logits(self, x: Tensor) -> Tensor:
        """Return the node logits; in training mode with region leak: -z swaps a node's sides."""
        z = self.logits(x)
        if not self.training or self.region_leak == 0:
            return z
        return torch.where(self.random.uniform(z) < self.region_leak, -z, z)

    def _weights(self, z: Tensor) -> Tensor:
        if self.hard_training and self.training:
            return one_hot(descend(z), self.n_experts, like=z)
        if self.form == "product" and self.top_k is None:
            return product_form(z)
        if self.form == "log" and self.top_k is None:
            return log_form(z).exp()
        return softmax_top_k(self._log_weights(z), self.top_k, renormalise=self.renormalise)

    def _log_weights(self, z: Tensor) -> Tensor:
        if self.form == "product":
            return product_form(z).clamp_min(SMALLEST).log()
        if self.form == "log":
            return log_form(z)
        matrix = self.matrix
        if self.form == "learned_transition":
            matrix = matrix * self.transition.relu()
        return transition_form(z, matrix, self.node_activation)
