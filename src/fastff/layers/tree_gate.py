"""The tree gate of a fast feed-forward layer."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from fastff.kernels.dispatch import Form, form_for
from fastff.kernels.functions import run_route
from fastff.kernels.reference import at_least_float32
from fastff.layers.gate import LogitGate, Routing, one_hot, route_top_k
from fastff.layers.linear import parameter, uniform_fan_in_
from fastff.layers.losses import HARDENING_REDUCTIONS, hardening, load_balance
from fastff.layers.options import check_depth, check_probability, check_top_k, check_weights
from fastff.layers.tree import (
    NODE_ACTIVATIONS,
    descend,
    log_form,
    path_matrix,
    product_form,
    transition_form,
)

FORMS = ("product", "log", "transition", "learned_transition")
TRANSITION_STARTS = ("paths", "uniform")
MAX_MATRIX_DEPTH = 14  # 2 GiB
SMALLEST = torch.finfo(torch.float32).tiny  # a probability of 0 has no logarithm


class TreeGate(LogitGate):
    """Leaf probabilities of a binary tree with one linear logit per node.

    z_j = <w_j, x> (+ b_j), P(right at j) = sigmoid(z_j), p_leaf = the product along its path
    (Belcak & Wattenhofer, *Fast Feedforward Networks*, arXiv 2308.14711, section 2). The hard
    form is one-hot at the leaf reached from the root by going right iff z_j > 0.

    Forms of the soft weights, equal for the log-sigmoid:

    - "product", "log": the product of sigmoids, and its logarithm as a sum, level by level;
    - "transition": softmax(a([-z, z]) Tᵀ) with the 0/1 matrix T of the paths;
    - "learned_transition": the same with T ∘ relu(W) in place of T, for learned weights W of the
      paths, which the hard form doesn't read (FastFF, 2024).

    Args:
        in_features: size of an input.
        depth: of the tree, at least 1; it has 2**depth leaves (experts). At most 14 for the
            transition forms, whose matrix has 2**(2 depth + 1) numbers.
        form: how the soft weights are computed, see above.
        node_activation: a of the transition forms: "logsigmoid", "softplus", "relu" or "linear".
        transition_start: of the learned transition's W: "paths" starts from ones on the paths, as
            the plain transition; "uniform" in ±1/sqrt(2 e) for e leaves, as the study did, so that
            about half of the paths' weights start at 0.
        bias: whether nodes have a bias.
        logit_activation: "linear", or "relu" of the node logits, as a tree of the FastFF study had:
            then left is never the likelier side.
        top_k: number of leaves kept in the soft form; None keeps all. The hard form is one leaf.
        renormalise: softmax over the kept leaves only. Needs `top_k`.
        logit_dropout: in training mode, the probability with which a node's logit is 0, and its
            decision even, for a sample; the others are scaled up by 1 / (1 - logit_dropout).
        region_leak: in training mode, the probability with which a node's two sides are swapped,
            for each sample on its own (section 2.3 of the paper).
        hardening_weight: of the hardening loss, the entropies of the nodes.
        hardening_reduction: of these over batch and nodes: "sum", "batch_mean" (the sum over nodes,
            the mean over the batch) or "mean", see `losses.hardening`.
        balance_weight: of the load-balancing loss of the leaves, see `losses.load_balance`.
        hard_training: train with the hard form: leaves learn, nodes get a gradient of 0. Without
            `top_k` and losses.
        straight_through: in training mode, the soft form has the values of the hard one and the
            gradient of the soft weights (Bengio et al., arXiv 1308.3432), so that all leaves are
            computed. Without `top_k` and `hard_training`.
        device: of the parameters.
        dtype: of the parameters.
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
        transition_start: str = "paths",
        bias: bool = False,
        logit_activation: str = "linear",
        logit_dropout: float = 0.0,
        top_k: int | None = None,
        renormalise: bool = False,
        region_leak: float = 0.0,
        hardening_weight: float = 0.0,
        hardening_reduction: str = "batch_mean",
        balance_weight: float = 0.0,
        hard_training: bool = False,
        straight_through: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        check_depth(depth)
        if form not in FORMS:
            raise ValueError(f"form = {form!r}: allowed are {', '.join(FORMS)}")
        if "transition" in form and depth > MAX_MATRIX_DEPTH:
            raise ValueError(
                f"depth = {depth}: form = {form!r} has a matrix of 2**{2 * depth + 1} numbers; "
                f"allowed is at most {MAX_MATRIX_DEPTH}, or form = 'log'"
            )
        if node_activation not in NODE_ACTIVATIONS:
            allowed = ", ".join(NODE_ACTIVATIONS)
            raise ValueError(f"node_activation = {node_activation!r}: allowed are {allowed}")
        if "transition" not in form and node_activation != "logsigmoid":
            raise ValueError(f"node_activation = {node_activation!r} needs form = 'transition'")
        if transition_start not in TRANSITION_STARTS:
            allowed = ", ".join(TRANSITION_STARTS)
            raise ValueError(f"transition_start = {transition_start!r}: allowed are {allowed}")
        if form != "learned_transition" and transition_start != "paths":
            raise ValueError(
                f"transition_start = {transition_start!r} needs form = 'learned_transition'"
            )
        if hardening_reduction not in HARDENING_REDUCTIONS:
            allowed = ", ".join(HARDENING_REDUCTIONS)
            raise ValueError(
                f"hardening_reduction = {hardening_reduction!r}: allowed are {allowed}"
            )
        check_probability("logit_dropout", logit_dropout, below_one=True)
        check_probability("region_leak", region_leak)
        check_weights(hardening_weight=hardening_weight, balance_weight=balance_weight)
        check_top_k(top_k, 2**depth, renormalise=renormalise)
        if hard_training and (top_k is not None or hardening_weight + balance_weight > 0):
            raise ValueError(
                "hard_training = True takes one leaf and gives nodes no gradient: "
                "top_k, hardening_weight and balance_weight have no meaning with it"
            )
        if straight_through and (top_k is not None or hard_training):
            raise ValueError(
                "straight_through = True has the gradient of all leaves: it takes neither top_k "
                "nor hard_training"
            )
        n_nodes = 2**depth - 1
        super().__init__(
            in_features, 2**depth, n_logits=n_nodes, n_trained=1 if hard_training else top_k,
            bias=bias, logit_activation=logit_activation, device=device, dtype=dtype,
        )  # fmt: skip
        self.depth = depth
        self.form = form
        self.node_activation = node_activation
        self.transition_start = transition_start
        self.top_k = top_k
        self.renormalise = renormalise
        self.logit_dropout = logit_dropout
        self.region_leak = region_leak
        self.hardening_weight: float | Tensor = hardening_weight
        self.hardening_reduction = hardening_reduction
        self.balance_weight: float | Tensor = balance_weight
        self.hard_training = hard_training
        self.straight_through = straight_through
        self.register_constants(device)
        if form == "learned_transition":
            self.transition = nn.Parameter(  # (e, s n)
                torch.empty(2**depth, 2 * n_nodes, device=device, dtype=dtype)
            )
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, those of a learned transition as `transition_start` says."""
        super().reset_parameters(generator)
        if self.form != "learned_transition":
            return
        if self.transition_start == "uniform":
            uniform_fan_in_(self.transition, 2 * self.n_experts, generator)
        else:
            with torch.no_grad():
                self.transition.copy_(self.matrix)

    def constants(self, device: torch.device) -> dict[str, Tensor]:
        """Return the "matrix" of the paths, for the transition forms."""
        return {"matrix": path_matrix(self.depth, device)} if "transition" in self.form else {}

    def route(self, x: Tensor, *, hard: bool, sparse: bool) -> Routing:
        """Return where inputs (..., i) go: in the hard form to one leaf.

        Soft weights sum to 1, with a plain `top_k` at most to 1. In training mode they leak, and
        the losses of each batch (..., b, i) come with them.
        """
        is_random = self.logit_dropout > 0 or self.region_leak > 0
        if hard or (self.hard_training and self.training and not is_random):
            leaf = self.leaf(x)
            if sparse:
                return Routing(expert=leaf.unsqueeze(-1))
            return Routing(one_hot(leaf, self.n_experts, like=x))
        z = self._training_logits(x)
        if self.hard_training and self.training:
            leaf = descend(z)
            if sparse:
                return Routing(expert=leaf.unsqueeze(-1))
            return Routing(one_hot(leaf, self.n_experts, like=z))
        loss = self._loss(z) if self.training else None
        if self.top_k is None and self.form == "product":
            routing = Routing(product_form(z), loss=loss)
        elif self.top_k is None and self.form == "log":
            routing = Routing(log_form(z).exp(), loss=loss)
        else:
            routing = route_top_k(
                self._log_weights(z),
                self.top_k,
                renormalise=self.renormalise,
                sparse=sparse,
                loss=loss,
            )
        if self.straight_through and self.training and routing.weights is not None:
            soft = routing.weights
            taken = one_hot(descend(z), self.n_experts, like=soft)
            return routing._replace(weights=taken + (soft - soft.detach()))
        return routing

    def leaf(self, x: Tensor) -> Tensor:
        """Return the leaf (...), int64, that each input (..., i) is routed to.

        By a kernel, unless `logits` is overridden.
        """
        weight, bias = parameter(self, "weight"), parameter(self, "bias")
        if weight.dim() == 2 and type(self).logits is LogitGate.logits:
            form = form_for(x, weight, bias)
            if form is not Form.PLAIN:
                return run_route(form, x, weight, bias)
        return descend(self.logits(x))

    def node_logits(self, x: Tensor) -> Tensor:
        """Return the node logits (..., b, n) of inputs (..., b, i)."""
        return self.activated_logits(x)

    def node_weights(self) -> tuple[Tensor, Tensor | None]:
        """Return the nodes' weights (..., n, i) and biases (..., n), or None."""
        return self.weight, self.bias

    def set_hardening(self, weight: float) -> None:
        """Set the weight of the hardening loss, as a tensor that compiled code reads."""
        check_weights(hardening_weight=weight)
        if self.hard_training:
            raise ValueError("hard_training = True gives nodes no gradient: it has no hardening")
        self.hardening_weight = self._filled(self.hardening_weight, weight)

    def set_balance(self, weight: float) -> None:
        """Set the weight of the load-balancing loss, as a tensor that compiled code reads."""
        check_weights(balance_weight=weight)
        if self.hard_training:
            raise ValueError("hard_training = True gives nodes no gradient: it has no balance")
        self.balance_weight = self._filled(self.balance_weight, weight)

    def _filled(self, current: float | Tensor, weight: float) -> Tensor:
        """Return the tensor `current` filled with a weight, or a new one on the nodes' device."""
        if isinstance(current, Tensor) and current.device == self.weight.device:
            return current.fill_(weight)
        with torch.inference_mode(False):
            dtype = at_least_float32(self.weight.dtype)
            return torch.full((), weight, device=self.weight.device, dtype=dtype)

    def extra_repr(self) -> str:
        """Return what describes the gate."""
        return f"{super().extra_repr()}, depth={self.depth}, form={self.form!r}"

    def _training_logits(self, x: Tensor) -> Tensor:
        """Return the node logits; in training mode with dropout and leak: -z swaps the sides."""
        z = self.activated_logits(x)
        if not self.training:
            return z
        if self.logit_dropout > 0:
            z = z * (self.random.uniform(z) >= self.logit_dropout) / (1 - self.logit_dropout)
        if self.region_leak == 0:
            return z
        return torch.where(self.random.uniform(z) < self.region_leak, -z, z)

    def _loss(self, z: Tensor) -> Tensor | None:
        """Return the weighted losses (...) of node logits (..., b, n), or None without any."""
        losses = []
        if (weight := _loss_weight(self.hardening_weight)) is not None:
            losses.append(weight * hardening(z, self.hardening_reduction))
        if (weight := _loss_weight(self.balance_weight)) is not None:
            if self.form == "product":
                weights = product_form(z)
            else:
                weights = self._log_weights(z).softmax(-1)
            losses.append(weight * load_balance(weights, descend(z).unsqueeze(-1)))
        return functools.reduce(torch.add, losses) if losses else None

    def _log_weights(self, z: Tensor) -> Tensor:
        if self.form == "product":
            return product_form(z).clamp_min(SMALLEST).log()
        if self.form == "log":
            return log_form(z)
        matrix = self.constant("matrix", like=z)
        if self.form == "learned_transition":
            matrix = matrix * self.transition.relu()
        return transition_form(z, matrix, self.node_activation)


def _loss_weight(weight: float | Tensor) -> float | Tensor | None:
    """Return the weight that a loss is multiplied with, None for a loss that isn't computed."""
    if isinstance(weight, Tensor):
        return weight.clone()  # it may be filled before the backward pass
    return weight if weight > 0 else None
