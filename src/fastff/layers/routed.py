"""A gate and a bank of experts, as one layer."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from fastff.kernels.activations import CODES
from fastff.kernels.check import check_inputs
from fastff.kernels.dispatch import Form, form_for, pays
from fastff.kernels.functions import as_rows, run_chosen_experts, with_leading
from fastff.kernels.reference import ExpertArguments
from fastff.layers.experts import Experts
from fastff.layers.gate import Gate, Routing, routing_of
from fastff.layers.layer import Layer
from fastff.layers.linear import parameter
from fastff.layers.losses import record


class RoutedLayer(Layer):
    """A layer that routes every input to experts: an FFF with a tree gate, an MoE with a linear.

    Where the gate's form leaves most experts out, kernels compute the chosen ones alone, in
    training too. They are left aside for a gate or experts with hooks or with overridden methods,
    which then are called as any module is.

    Args:
        gate: gives routing weights (..., e).
        experts: combines its experts by these weights; as many experts as the gate has, of as many
            features.

    """

    def __init__(self, gate: Gate, experts: Experts) -> None:
        super().__init__()
        for name, part, kind in (("gate", gate, Gate), ("experts", experts, Experts)):
            if not isinstance(part, kind):
                raise TypeError(f"{name}: a {type(part).__name__}; allowed is a {kind.__name__}")
        if gate.n_experts != experts.n_experts:
            raise ValueError(
                f"the gate routes to {gate.n_experts} experts, the bank has {experts.n_experts}"
            )
        if gate.in_features != experts.in_features:
            raise ValueError(
                f"the gate takes {gate.in_features} features, the experts {experts.in_features}: "
                "they must take the same inputs"
            )
        self.gate = gate
        self.experts = experts
        self.in_features = gate.in_features
        self.out_features = experts.out_features
        self.n_experts = gate.n_experts
        self.training_width = gate.n_experts * experts.hidden_features
        # merged experts are one, however many; the chosen one only if all of the weight is on it
        self._is_merged = experts.is_merged
        n_active = 1 if self._is_merged else gate.n_active
        self.inference_width = n_active * experts.hidden_features

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i).

        `hard` chooses the gate's form; by default soft in training mode, hard in evaluation mode.
        In training mode the gate's own loss is kept for `fastff.aux_loss`.
        """
        if hard is None:
            hard = not self.training
        # looked up at once, as in `parameter`
        gate, experts = cast(Gate, self._modules["gate"]), cast(Experts, self._modules["experts"])
        n_chosen = gate.n_active if hard else gate.n_trained
        w_in = parameter(experts, "w_in")
        if w_in.dim() != 3 or not (gate.is_one_method and _has_no_hooks(gate)):
            weights = gate(x, hard=hard)
            out: Tensor = experts(x, weights, sparse=n_chosen < self.n_experts)
            if w_in.dim() == 3 and not (hard or weights.requires_grad) and torch.is_grad_enabled():
                out = out + gate.zero()
            return out
        has_no_hooks = _has_no_hooks(experts)
        form, bank = Form.PLAIN, None
        if has_no_hooks and _has_kernels(experts, n_chosen):
            # read once: behind a parametrization each look computes the weight anew
            w_out, b_in, b_out = (parameter(experts, name) for name in ("w_out", "b_in", "b_out"))
            bank = Bank(w_in, w_out, b_in, b_out)
            form = form_for(x, *bank)
        if has_no_hooks and (form is not Form.DIRECT or x.dim() != 2):
            check_inputs(x, w_in, self.in_features)  # otherwise the functions' checks are enough
        rows = as_rows(x)
        routing = routing_of(gate, rows, hard=hard, sparse=form is not Form.PLAIN)
        is_chosen = routing.expert is not None and (routing.scale is None or not self._is_merged)
        needs_zero = not hard and torch.is_grad_enabled() and not _learns(routing)
        if bank is not None and form is not Form.PLAIN and is_chosen:
            if needs_zero and bank.b_in is not None and form is Form.OPERATOR:
                bank = bank._replace(b_in=bank.b_in + gate.zero())  # smaller than the outputs
                needs_zero = False
            out = _chosen_alone(form, rows, routing, bank, experts.activation)
        else:
            weights = routing.dense(self.n_experts, x.dtype)
            if weights.shape[:-1] != rows.shape[:-1]:
                raise ValueError(
                    f"weights have shape {tuple(weights.shape)}; allowed is "
                    f"{(*rows.shape[:-1], self.n_experts)}, a row for each of the inputs"
                )
            out = experts(rows, weights, sparse=n_chosen < self.n_experts)
        if needs_zero:
            out = out + gate.zero()
        if routing.loss is not None:
            out = record(gate, out, routing.loss)
        return out if x.dim() == 2 else with_leading(out, x)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, those of the gate before the experts'."""
        self.gate.reset_parameters(generator)
        self.experts.reset_parameters(generator)

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft form's outputs (..., o), and the gate's own loss (...), if any."""
        weights, loss = self.gate.soft_with_loss(x)
        return self.experts(x, weights), loss

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both forms' outputs (2, ..., b, o), and the hard routing (..., b, 1, e).

        Cheaper than two calls: the experts' first product, which is most of the work, is shared.
        """
        hard = self.gate.hard(x)
        outputs: Tensor = self.experts(x, torch.stack([self.gate.soft(x), hard]))
        return outputs, hard.unsqueeze(-2)

    def soft_weights(self, x: Tensor) -> Tensor | None:
        """Return the gate's soft weights (..., b, e)."""
        return self.gate.soft(x)

    def node_logits(self, x: Tensor) -> Tensor | None:
        """Return the node logits (..., b, 1, n) of the gate's tree, or None without one."""
        z = self.gate.node_logits(x)
        return None if z is None else z.unsqueeze(-2)

    def node_weights(self) -> tuple[Tensor, Tensor | None] | None:
        """Return the tree's weights (..., 1, n, i) and biases (..., 1, n), or None without one."""
        parameters = self.gate.node_weights()
        if parameters is None:
            return None
        weight, bias = parameters
        return weight.unsqueeze(-3), None if bias is None else bias.unsqueeze(-2)

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return the gate's units and the experts'."""
        return {**self.gate.units(), **self.experts.units()}


class MasterLeafLayer(RoutedLayer):
    """A routed layer beside a master leaf, an expert that every input visits.

    The output is k · routed + (1 - k) · master, k = sigmoid(`mix`), a learned number (1,) that
    starts at 0 (Charalampopoulos et al., arXiv 2405.16836).

    Args:
        gate: as in `RoutedLayer`.
        experts: as in `RoutedLayer`.
        master: a bank of one expert, of the same features; None for none.

    """

    def __init__(self, gate: Gate, experts: Experts, master: Experts | None) -> None:
        super().__init__(gate, experts)
        self.master = master
        if master is not None:
            w_in = master.w_in
            self.mix = nn.Parameter(  # FSDP has no scalars
                torch.zeros(1, device=w_in.device, dtype=w_in.dtype)
            )
            self.training_width += master.hidden_features
            self.inference_width += master.hidden_features

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew; the master leaf gets half of the output."""
        super().reset_parameters(generator)
        if self.master is not None:
            self.master.reset_parameters(generator)
            nn.init.zeros_(self.mix)

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i).

        `hard` chooses the form; by default soft in training mode, hard in evaluation mode.
        """
        return self._mix(x, super().forward(x, hard=hard))

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft form's outputs (..., b, o), and the layer's own loss (...), if any."""
        outputs, loss = super().soft_with_loss(x)
        return self._mix(x, outputs), loss

    def soft_and_hard(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return both forms' outputs (2, ..., b, o), and the hard routing (..., b, 1, e)."""
        outputs, routing = super().soft_and_hard(x)
        return self._mix(x, outputs), routing

    def _mix(self, x: Tensor, outputs: Tensor) -> Tensor:
        """Return k · outputs + (1 - k) · master(x), (..., o), or the outputs without a master."""
        if self.master is None:
            return outputs
        k = self.mix.sigmoid().to(outputs.dtype)
        k = k if k.dim() == 1 else k.unsqueeze(-2)  # (r, 1, 1) for a stack of runs
        ones = x.new_ones(1).expand(*x.shape[:-1], 1)
        mixed: Tensor = k * outputs + (1 - k) * self.master(x, ones)
        return mixed


def count(expert: Tensor, n_experts: int) -> Tensor:
    """Return how often each expert stands among indices (...), (e,), int64."""
    expert = expert.flatten()
    zeros = torch.zeros(n_experts, dtype=torch.long, device=expert.device)
    return zeros.scatter_add(0, expert, torch.ones_like(expert))


class Bank(NamedTuple):
    """The weights of all experts: w_in (e, h, i), w_out (e, h, o), b_in (e, h), b_out (e, o)."""

    w_in: Tensor
    w_out: Tensor
    b_in: Tensor | None
    b_out: Tensor | None


def _chosen_alone(form: Form, x: Tensor, routing: Routing, bank: Bank, activation: str) -> Tensor:
    """Return the outputs (b, o) of the chosen experts, by a kernel."""
    scale = routing.scale
    if scale is not None:  # which may need a gradient where nothing else does
        form = form_for(x, scale, *bank)
    assert routing.expert is not None
    w_in, w_out, *biases = bank
    arguments = ExpertArguments(x, routing.expert, w_in, w_out, activation, scale, *biases)
    return run_chosen_experts(form, arguments)


def _has_kernels(experts: Experts, n_chosen: int) -> bool:
    """Return whether kernels compute what the experts do, faster than all experts at once."""
    return (
        pays(experts.n_experts, n_chosen)
        and experts.activation in CODES
        and experts.output_activation == "linear"
        and experts.is_as_defined
        and (experts.dropout == 0 or not experts.training)
    )


def _learns(routing: Routing) -> bool:
    """Return whether a gradient goes to the gate."""
    weights = routing.scale if routing.weights is None else routing.weights
    return weights is not None and weights.requires_grad


def _has_no_hooks(module: nn.Module) -> bool:
    """Return whether calling a module does no more than its class's forward."""
    return not (
        module._forward_pre_hooks
        or module._forward_hooks
        or module._backward_pre_hooks
        or module._backward_hooks
        or "forward" in module.__dict__
        or _has_any_global_hook()
    )
