"""The functions to call: routing, the node-only tree and the chosen experts, on any device."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from fastff.kernels import ops
from fastff.kernels.backends import kernels_for


def route(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the leaf (b,), int64, that a walk from the root reaches: right iff z > 0.

    Args:
        x: inputs (b, i), with any strides.
        weight: of the nodes in heap order, (n, i); z_j = <w_j, x> (+ b_j).
        bias: of the nodes, (n,).

    """
    if kernels := _direct(x):
        leaf: Tensor = kernels.route(x, weight.contiguous(), bias)
        return leaf
    leaves: Tensor = ops.route(*_autocast(x, weight, bias))
    return leaves


def node_tree(x: Tensor, w_in: Tensor, w_out: Tensor, activation: str) -> Tensor:
    """Return Σ a(z_j) v_j over parallel trees and the nodes j on each tree's path, (b, o).

    Differentiable in x, w_in and w_out; the path is a constant. See `fastff.layers.NodeTree`.

    Args:
        x: inputs (b, i), with any strides.
        w_in: the nodes' w_j in heap order, (t, n, i); z_j = <w_j, x>.
        w_out: the nodes' v_j, (t, n, o).
        activation: a: "relu", "gelu", "selu" or "linear".

    """
    if kernels := _direct(x, w_in, w_out):
        out: Tensor = kernels.node_tree(x, w_in.contiguous(), w_out.contiguous(), activation)
        return out
    outputs: tuple[Tensor, ...] = ops.node_tree(*_autocast(x, w_in, w_out), activation)
    return outputs[0]


def chosen_experts(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    *,
    scale: Tensor | None = None,
    b_in: Tensor | None = None,
    b_out: Tensor | None = None,
) -> Tensor:
    """Return Σ s_k E_k(x) over the k experts chosen for an input, (b, o).

    E(x) = a(x W_inᵀ + b_in) W_out + b_out: the chosen leaf of an FFF, the top-k experts of an
    MoE. Differentiable in all but the choice.

    Args:
        x: inputs (b, i), with any strides.
        expert: indices of the chosen experts, (b, k), int64.
        w_in: (e, h, i).
        w_out: (e, h, o).
        activation: a: "relu", "gelu", "selu" or "linear".
        scale: s, (b, k); None is 1.
        b_in: (e, h).
        b_out: (e, o).

    """
    if kernels := _direct(x, w_in, w_out, scale, b_in, b_out):
        out: Tensor = kernels.chosen_experts(
            x, expert, w_in.contiguous(), w_out.contiguous(), activation, scale=scale,
            b_in=None if b_in is None else b_in.contiguous(),
            b_out=None if b_out is None else b_out.contiguous(),
        )  # fmt: skip
        return out
    x, w_in, w_out, scale, b_in, b_out = _autocast(x, w_in, w_out, scale, b_in, b_out)
    outputs: tuple[Tensor, ...] = ops.chosen_experts(
        x, expert, w_in, w_out, activation, scale, b_in, b_out
    )
    return outputs[0]


def _direct(x: Tensor, *differentiable: Tensor | None) -> ModuleType | None:
    """Return the CPU kernels if they can be called without the operator around them.

    It takes several times as long as one input's walk, so only compilers and autograd get it.
    """
    if not x.is_cpu or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return None
    if torch.compiler.is_compiling():
        return None
    if torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in (x, *differentiable)
    ):
        return None
    return kernels_for("cpu")


def _autocast(x: Tensor, *others: Tensor | None) -> tuple[Any, ...]:
    """Return the arguments in autocast's dtype, where it is on for their device."""
    if not torch.is_autocast_enabled(x.device.type):
        return x, *others
    dtype = torch.get_autocast_dtype(x.device.type)
    return tuple(None if t is None else t.to(dtype) for t in (x, *others))
