"""The functions to call: routing, the node-only tree and the chosen experts, on any device.

Each takes inputs with any leading dimensions and strides, and weights with any strides. Bad
arguments end in one line: TypeError for a dtype, ValueError for a shape, device or activation,
IndexError for the index of an expert that there isn't (on CUDA, as torch's own indexing, an
assertion on the device). How each is computed is `dispatch`'s decision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastff.kernels import ops, reference
from fastff.kernels.backends import compiled_for
from fastff.kernels.check import (
    check_chosen_experts,
    check_chosen_experts_shapes,
    check_node_tree,
    check_node_tree_shapes,
    check_route,
    check_route_shapes,
    is_cpu_int64,
)
from fastff.kernels.dispatch import Form, computed_dtype, form_for
from fastff.kernels.ops import contiguous


def route(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the leaves (...), int64, that a walk from the root reaches: right iff z > 0.

    A NaN logit is not > 0 and goes left.

    Args:
        x: inputs (..., i).
        weight: of the nodes in heap order, (n, i); z_j = <w_j, x> (+ b_j).
        bias: of the nodes, (n,).

    """
    return run_route(form_for(x, weight, bias), x, weight, bias)


def node_tree(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, *, b_in: Tensor | None = None
) -> Tensor:
    """Return Σ a(z_j) v_j over parallel trees and the nodes j on each tree's path, (..., o).

    Differentiable in all tensors; the path is a constant. See `fastff.layers.NodeTree`.

    Args:
        x: inputs (..., i).
        w_in: the nodes' w_j in heap order, (t, n, i); z_j = <w_j, x> (+ b_j).
        w_out: the nodes' v_j, (t, n, o).
        activation: a: "relu", "gelu", "selu" or "linear".
        b_in: the nodes' b_j, (t, n).

    """
    return run_node_tree(form_for(x, w_in, w_out, b_in), x, w_in, w_out, activation, b_in)


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
    """Return Σ s_k E_k(x) over the k experts chosen for an input, (..., o).

    E(x) = a(x W_inᵀ + b_in) W_out + b_out: the chosen leaf of an FFF, the top-k experts of an
    MoE. Differentiable in all but the choice.

    Args:
        x: inputs (..., i).
        expert: indices of the chosen experts, (..., k), int64.
        w_in: (e, h, i).
        w_out: (e, h, o).
        activation: a: "relu", "gelu", "selu" or "linear".
        scale: s, (..., k); None is 1.
        b_in: (e, h).
        b_out: (e, o).

    """
    form = form_for(x, w_in, w_out, scale, b_in, b_out)
    return run_chosen_experts(form, x, expert, w_in, w_out, activation, scale, b_in, b_out)


def run_route(form: Form, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what `route` does, computed in the given form."""
    check = check_route_shapes if form is Form.DIRECT else check_route
    check(x, weight, bias)
    is_batch = x.dim() == 2
    rows = x if is_batch else as_rows(x)
    if form is Form.DIRECT:
        kernels = compiled_for("cpu")
        assert kernels is not None
        leaf: Tensor = kernels.route(rows, weight.contiguous(), contiguous(bias))
    else:
        with torch.no_grad():  # a leaf has no gradient
            run = ops.route if form is Form.OPERATOR else reference.route
            leaf = run(*_cast(rows, weight, bias))
    return leaf if is_batch else leaf.view(x.shape[:-1])


def run_node_tree(
    form: Form, x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, b_in: Tensor | None
) -> Tensor:
    """Return what `node_tree` does, computed in the given form."""
    check = check_node_tree_shapes if form is Form.DIRECT else check_node_tree
    check(x, w_in, w_out, activation, b_in)
    is_batch = x.dim() == 2
    rows = x if is_batch else as_rows(x)
    if form is Form.DIRECT:
        kernels = compiled_for("cpu")
        assert kernels is not None
        out: Tensor = kernels.node_tree(
            rows, w_in.contiguous(), w_out.contiguous(), activation, contiguous(b_in)
        )
    else:
        run = ops.node_tree if form is Form.OPERATOR else reference.node_tree_with_path
        rows, w_in, w_out, b_in = _cast(rows, w_in, w_out, b_in)
        out = run(rows, w_in, w_out, activation, b_in)[0]
    return out if is_batch else with_leading(out, x)


def run_chosen_experts(
    form: Form,
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None,
    b_in: Tensor | None,
    b_out: Tensor | None,
) -> Tensor:
    """Return what `chosen_experts` does, computed in the given form."""
    if form is Form.DIRECT and is_cpu_int64(expert):
        check_chosen_experts_shapes(x, expert, w_in, w_out, activation, scale, b_in, b_out)
    else:
        check_chosen_experts(x, expert, w_in, w_out, activation, scale, b_in, b_out)
        expert = expert.resolve_neg()  # torch's indexing reads some as they lie in memory
    rows, choices, scales = x, expert, scale
    if not (is_batch := x.dim() == 2):
        rows, choices = as_rows(x), as_rows(expert)
        scales = None if scale is None else as_rows(scale)
    if form is Form.DIRECT:
        kernels = compiled_for("cpu")
        assert kernels is not None
        out: Tensor = kernels.chosen_experts(
            rows, choices, w_in.contiguous(), w_out.contiguous(), activation, scale=scales,
            b_in=contiguous(b_in), b_out=contiguous(b_out),
        )  # fmt: skip
    else:
        run = ops.chosen_experts if form is Form.OPERATOR else reference.chosen_experts_with_hidden
        rows, w_in, w_out, scales, b_in, b_out = _cast(rows, w_in, w_out, scales, b_in, b_out)
        try:
            out = run(rows, choices, w_in, w_out, activation, scales, b_in, b_out)[0]
        except IndexError:
            raise reference.no_such_expert(choices, len(w_in)) from None
    return out if is_batch else with_leading(out, x)


def as_rows(x: Tensor) -> Tensor:
    """Return `x` (..., f) as (b, f)."""
    if x.dim() == 2:
        return x
    return x.unsqueeze(0) if x.dim() == 1 else x.flatten(0, -2)


def with_leading(out: Tensor, x: Tensor) -> Tensor:
    """Return `out` (b, o) with the leading dimensions of `x`, as `nn.Linear` does: as no view.

    An operation in place on a view takes FSDP2's hooks out of the graph.
    """
    shape = (*x.shape[:-1], out.shape[-1])
    if (
        torch._C._get_tracing_state() is not None
    ):  # it takes an operator's list of sizes for constants
        return out.view(shape)
    shaped: Tensor = torch.ops.aten._unsafe_view(out, shape)
    return shaped


def _cast(x: Tensor, *others: Tensor | None) -> tuple[Any, ...]:
    """Return the arguments in the dtype in which a function of `x` is computed."""
    dtype = computed_dtype(x)
    return tuple(None if t is None else t.to(dtype) for t in (x, *others))
