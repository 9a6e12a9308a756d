"""Banks of experts: n small MLPs whose outputs, or weights, routing weights combine."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fastff.kernels.activations import ACTIVATIONS
from fastff.kernels.check import check_inputs
from fastff.layers.linear import Random, linear, nonzero_product, uniform_fan_in_
from fastff.layers.options import (
    PRELU_SLOPE,
    Activation,
    check_dtype,
    check_probability,
    check_sizes,
    named_activation,
)

BIASES = (True, False, "hidden", "output")


class Experts(nn.Module, abc.ABC):
    """`n_experts` MLPs with one hidden layer: E_e(x) = a(x W_in,eᵀ + b_in,e) W_out,e + b_out,e.

    With an `output_activation` it is taken of the outputs.

    Parameters have a row per hidden unit: `w_in` (e, h, i) and `w_out` (e, h, o), so that an
    expert's weights are one block of memory.

    Args:
        n_experts: number of experts.
        in_features: size of an input.
        hidden_features: hidden units of one expert.
        out_features: size of an output.
        activation: "relu", "gelu", "selu", "linear", "prelu", whose slope every expert learns, or
            a function (or module) of tensors, which no kernel computes.
        dropout: in training mode, the probability with which a hidden unit is left out for a
            sample, after the activation; the others are scaled up by 1 / (1 - dropout).
        bias: whether hidden units and outputs have a bias, or "hidden" or "output" for one of them.
        output_activation: of every expert's outputs, before they are weighted: "linear", "relu",
            "gelu" or "selu".
        device: of the parameters.
        dtype: of the parameters.
        generator: draws the initial parameters, uniform in ±1/sqrt(fan_in).

    """

    has_slopes = True
    is_merged = False  # whether an input passes one expert, made of all
    is_as_defined = False  # whether the class computes what the kernels compute
    _defined: Callable[..., Tensor] | None = None  # the forward that they do

    def __init_subclass__(cls, *, has_kernels: bool = False, **options: Any) -> None:
        super().__init_subclass__(**options)
        if has_kernels:
            cls._defined = cls.forward
        methods = ("pre_activations", "activate", "combine")
        cls.is_as_defined = cls.forward is cls._defined and all(
            getattr(cls, name) is getattr(Experts, name) for name in methods
        )

    def __init__(
        self,
        n_experts: int,
        in_features: int,
        hidden_features: int,
        out_features: int,
        *,
        activation: Activation = "relu",
        dropout: float = 0.0,
        bias: bool | str = False,
        output_activation: str = "linear",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_sizes(
            n_experts=n_experts, in_features=in_features, hidden_features=hidden_features,
            out_features=out_features,
        )  # fmt: skip
        allowed = [*ACTIVATIONS, "prelu"] if self.has_slopes else ACTIVATIONS
        self.activation, self.own_activation = named_activation(activation, allowed)
        check_probability("dropout", dropout, below_one=True)
        check_dtype(dtype)
        if bias not in BIASES:
            raise ValueError(f"bias = {bias!r}: allowed are True, False, 'hidden' and 'output'")
        if output_activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise ValueError(f"output_activation = {output_activation!r}: allowed are {names}")
        self.bias = bias
        self.output_activation = output_activation
        self.n_experts = n_experts
        self.in_features = in_features
        self.hidden_features = hidden_features
        self.out_features = out_features
        self.dropout = dropout
        self.random = Random()

        def empty(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        e, i, h, o = n_experts, in_features, hidden_features, out_features
        self.w_in = empty(e, h, i)
        self.w_out = empty(e, h, o)
        self.b_in = empty(e, h) if bias in (True, "hidden") else None
        self.b_out = empty(e, o) if bias in (True, "output") else None
        self.slope = empty(e, 1) if activation == "prelu" else None
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the parameters anew, uniform in ±1/sqrt(fan_in); slopes start at 0.25."""
        fan_ins = {
            "w_in": self.in_features,
            "w_out": self.hidden_features,
            "b_in": self.in_features,
            "b_out": self.hidden_features,
        }
        for name, fan_in in fan_ins.items():
            parameter = getattr(self, name)
            if parameter is not None:
                uniform_fan_in_(parameter, fan_in, generator)
        if self.slope is not None:
            nn.init.constant_(self.slope, PRELU_SLOPE)

    @abc.abstractmethod
    def forward(self, x: Tensor, weights: Tensor, *, sparse: bool = False) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i) and routing weights (..., e).

        With `sparse` an expert of weight 0 is left out: even one that isn't finite doesn't reach
        the output.
        """

    def check_inputs(self, x: Tensor) -> None:
        """Raise TypeError or ValueError for inputs (..., i) that a single bank can't take."""
        if self.w_in.dim() == 3:
            check_inputs(x, self.w_in, self.in_features)

    def check(self, x: Tensor, weights: Tensor) -> None:
        """Raise as `check_inputs`, and ValueError for weights (..., e) that fit no inputs."""
        self.check_inputs(x)
        if self.w_in.dim() != 3:
            return
        shape = weights.shape
        if shape[-1] != self.n_experts or (len(shape) > 1 and shape[-2] != x.shape[-2]):
            rows = ", ".join(str(size) for size in (*x.shape[:-1], self.n_experts))
            raise ValueError(f"weights have shape {tuple(shape)}; allowed is ({rows})")

    def pre_activations(self, x: Tensor) -> Tensor:
        """Return every expert's hidden units before activation, (..., e, h)."""
        w_in = self.w_in
        hidden: Tensor = linear(x, w_in.flatten(-3, -2)).unflatten(-1, w_in.shape[-3:-1])
        if self.b_in is None:
            return hidden
        return hidden + (self.b_in if self.b_in.dim() == 2 else self.b_in.unsqueeze(-3))

    def activate(self, hidden: Tensor) -> Tensor:
        """Return the activations of hidden units (..., e, h), in training with dropout."""
        if self.slope is not None:
            slope = self.slope if self.slope.dim() == 2 else self.slope.unsqueeze(-3)
            hidden = torch.where(hidden > 0, hidden, slope * hidden)
        else:
            hidden = (self.own_activation or ACTIVATIONS[self.activation])(hidden)
        if not self.training or self.dropout == 0:
            return hidden
        return hidden * (self.random.uniform(hidden) >= self.dropout) / (1 - self.dropout)

    def combine(self, weighted: Tensor, weights: Tensor, *, sparse: bool = False) -> Tensor:
        """Return Σ_e weighted_e W_out,e + weights_e b_out,e, (..., o).

        Several forms of a stack are taken one by one: a product of them all copies the weights in
        another layout than a single run's, so that its last bits would depend on the other runs.

        Args:
            weighted: hidden units times their expert's routing weight, (..., e, h).
            weights: the routing weights (..., e), for the biases.
            sparse: whether experts of weight 0 are left out.

        """
        w_out = self.w_out.flatten(-3, -2)
        is_stack = w_out.dim() > 2
        if is_stack and weighted.dim() > w_out.dim() + 1:
            return torch.stack([self.combine(*one) for one in zip(weighted, weights, strict=True)])
        if sparse and not is_stack:
            chosen = weights != 0
            reached = chosen.unsqueeze(-1).expand(weighted.shape).flatten(-2)
            out = nonzero_product(weighted.flatten(-2), reached, w_out)
            if self.b_out is not None:
                out = out + nonzero_product(weights, chosen, self.b_out)
            return out
        out = linear(weighted.flatten(-2), w_out.mT)
        if self.b_out is not None:
            is_for_all = weights.dim() == 1 and self.b_out.dim() == 3  # of a stack's inputs
            out = out + (weights.unsqueeze(0) if is_for_all else weights) @ self.b_out
        return out if is_stack else out.contiguous()

    def extra_repr(self) -> str:
        """Return what describes the experts."""
        return (
            f"n_experts={self.n_experts}, in_features={self.in_features}, "
            f"hidden_features={self.hidden_features}, out_features={self.out_features}, "
            f"activation={self.activation!r}, bias={self.bias!r}, "
            f"output_activation={self.output_activation!r}"
        )

    def units(self) -> dict[str, tuple[nn.Parameter, int]]:
        """Return "expert_in" and "expert_out", a unit per expert, as `Layer.units` does."""
        return {"expert_in": (self.w_in, 0), "expert_out": (self.w_out, 0)}


class MixtureExperts(Experts, has_kernels=True):
    """Weighted sum of the experts' outputs, y = Σ_e p_e E_e(x).

    The weights scale the hidden units, so that the sum over experts and hidden units is one
    matrix product and no expert's output is stored: memory is O(b e h). With an activation of the
    outputs every one is stored: O(b e (h + o)).
    """

    def forward(self, x: Tensor, weights: Tensor, *, sparse: bool = False) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i) and routing weights (..., e)."""
        self.check(x, weights)
        hidden = self.activate(self.pre_activations(x))  # (..., e, h)
        p = weights.unsqueeze(-1)
        if sparse:
            hidden = hidden.masked_fill(p == 0, 0)
        if self.output_activation == "linear":
            return self.combine(p * hidden, weights, sparse=sparse)
        outputs = ACTIVATIONS[self.output_activation](self._outputs(hidden))
        if sparse:
            outputs = outputs.masked_fill(p == 0, 0)
        return (p * outputs).sum(-2)

    def _outputs(self, hidden: Tensor) -> Tensor:
        """Return every expert's outputs before activation, (..., e, o), of hidden units."""
        run = "r" * (self.w_out.dim() - 3)
        outputs = torch.einsum(f"{run}...eh,{run}eho->{run}...eo", hidden, self.w_out)
        if self.b_out is None:
            return outputs
        return outputs + (self.b_out if self.b_out.dim() == 2 else self.b_out.unsqueeze(-3))


class SoftMergedExperts(Experts, has_kernels=True):
    """One expert per input, its weights the weighted mean of all: E(x) with W = Σ_e p_e W_e.

    Muqeeth et al., *Soft Merging of Experts with Adaptive Routing*, arXiv 2306.03745. With
    one-hot weights it is the chosen expert, which is what FastFF evaluated; with the soft
    weights it is what the SMEAR paper evaluated.

    No merged weight is ever stored, since (Σ p_e W_e) x = Σ p_e (W_e x): memory is O(b e h), not
    O(b e h i).
    """

    is_merged = True
    has_slopes = False  # the slope of merged hidden units would be nobody's

    def forward(self, x: Tensor, weights: Tensor, *, sparse: bool = False) -> Tensor:
        """Return the outputs (..., o) of inputs (..., i) and routing weights (..., e)."""
        self.check(x, weights)
        p = weights.unsqueeze(-1)  # (..., e, 1)
        hidden = self.pre_activations(x)
        if sparse:
            hidden = hidden.masked_fill(p == 0, 0)
        merged = self.activate((p * hidden).sum(-2, keepdim=True))  # (..., 1, h)
        if sparse:
            merged = merged.where(p != 0, 0)
        out = self.combine(p * merged, weights, sparse=sparse)
        return ACTIVATIONS[self.output_activation](out)
