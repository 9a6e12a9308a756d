"""The experts alone: what computes the experts that were chosen for every input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fastff.bench.forms import Build, Call, Run
from fastff.bench.shape import Shape
from fastff.kernels import functions
from fastff.kernels.activations import ACTIVATIONS
from fastff.layers import MixtureExperts


@dataclass(frozen=True)
class Bank:
    """Experts without biases, and the random choice of them for a batch.

    Attributes:
        experts: the layer.
        expert: chosen experts (b, k).
        scale: their weights (b, k); all 1 for a single choice.

    """

    experts: MixtureExperts
    expert: Tensor
    scale: Tensor

    @property
    def weights(self) -> Tensor:
        """The routing weights (b, e)."""
        dense = self.scale.new_zeros(len(self.expert), self.experts.n_experts)
        return dense.scatter(-1, self.expert, self.scale)


def mixture(shape: Shape) -> MixtureExperts:
    """Return experts of these sizes, on torch's default device."""
    return MixtureExperts(
        shape.n_experts, shape.in_features, shape.hidden_features, shape.out_features,
        activation=shape.activation,
    )  # fmt: skip


def sequential(bank: Bank) -> Run:
    """Return the loop over experts: each takes the rows that chose it."""
    activate = ACTIVATIONS[bank.experts.activation]
    w_in, w_out = bank.experts.w_in.detach(), bank.experts.w_out.detach()

    def run(x: Tensor) -> Tensor:
        out = x.new_zeros(len(x), w_out.shape[-1])
        for e in range(len(w_in)):
            rows, k = (bank.expert == e).nonzero(as_tuple=True)
            y = activate(x[rows] @ w_in[e].mT) @ w_out[e]
            out.index_add_(0, rows, bank.scale[rows, k, None] * y)
        return out

    return run


def gather(
    x: Tensor, expert: Tensor, scale: Tensor | None, w_in: Tensor, w_out: Tensor, activation: str
) -> Tensor:
    """Return Σ s_k E_k(x) (b, o) with every input's weights copied together: (b, k, h, i)."""
    z = (w_in[expert] @ x[:, None, :, None]).squeeze(-1)  # (b, k, h)
    hidden = ACTIVATIONS[activation](z)
    if scale is not None:
        hidden = hidden * scale.unsqueeze(-1)
    out: Tensor = (hidden.unsqueeze(-2) @ w_out[expert]).squeeze(-2).sum(1)
    return out


def _gathered(bank: Bank) -> Run:
    w_in, w_out = bank.experts.w_in.detach(), bank.experts.w_out.detach()
    activation = bank.experts.activation
    return lambda x: gather(x, bank.expert, bank.scale, w_in, w_out, activation)


def _dense(bank: Bank) -> Run:
    weights = bank.weights
    return lambda x: bank.experts(x, weights)


def _fused(bank: Bank) -> Run:
    w_in, w_out = bank.experts.w_in.detach(), bank.experts.w_out.detach()
    activation, scale = bank.experts.activation, bank.scale
    return lambda x: functions.chosen_experts(x, bank.expert, w_in, w_out, activation, scale=scale)


def _build(form: Callable[[Bank], Run], *, computes_all: bool = False) -> Build:
    def build(shape: Shape, dtype: torch.dtype, device: torch.device) -> Call:
        with device:
            experts = mixture(shape)
            if shape.top_k == shape.n_experts:
                expert = torch.arange(shape.n_experts).repeat(shape.batch, 1)
                scale = torch.rand(shape.batch, shape.n_experts).softmax(-1)
            else:
                expert = torch.randint(shape.n_experts, (shape.batch, shape.top_k))
                scale = torch.ones(shape.batch, shape.top_k)
        bank = Bank(experts.to(dtype).eval(), expert, scale.to(dtype))
        computed = replace(shape, top_k=shape.n_experts) if computes_all else shape
        return Call(form(bank), computed.of_experts(), shape)

    return build


BUILDERS: dict[str, Build] = {
    "experts_sequential": _build(sequential),
    "experts_gathered": _build(_gathered),
    "experts_dense": _build(_dense, computes_all=True),
    "experts_fused": _build(_fused),
}
