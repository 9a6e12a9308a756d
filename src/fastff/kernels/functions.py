"""The functions to call: routing, the node-only tree and the chosen experts, on any device.

Each takes inputs with any leading dimensions and strides, and weights with any strides. Bad
arguments end in one line: TypeError for a dtype, ValueError for a shape, device or activation,
IndexError for the index of an expert that there isn't (on CUDA, as torch's own indexing, an
assertion on the device). How each is computed is `dispatch`'s decision.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.kernels import ops, reference
from fastff.kernels.check import (
    check_chosen_experts,
    check_chosen_experts_shapes,
    check_node_tree,
    check_node_tree_shapes,
    check_route,
    check_route_shapes,
)
from fastff.kernels.dispatch import Form, compiled_for, computed_dtype, form_for, is_cpu_int64
from fastff.kernels.reference import ExpertArguments, TreeArguments, cast, contiguous

DIRECT = Form.DIRECT  # for one input's sake: Python 3.11 looks an enum's member up slowly


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
    arguments = TreeArguments(x, w_in, w_out, activation, b_in)
    return run_node_tree(form_for(x, w_in, w_out, b_in), arguments)


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
    arguments = ExpertArguments(x, expert, w_in, w_out, activation, scale, b_in, b_out)
    return run_chosen_experts(form_for(x, w_in, w_out, scale, b_in, b_out), arguments)


def run_route(form: Form, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return what `route` does, computed in the given form."""
    check = check_route_shapes if form is DIRECT else check_route
    check(x, weight, bias)
    is_batch = x.dim() == 2
    rows = x if is_batch else as_rows(x)
    if form is DIRECT:
        kernels = compiled_for("cpu")
        assert kernels is not None
        leaf: Tensor = kernels.route(rows, weight.contiguous(), contiguous(bias))
    else:
        with torch.no_grad():  # a leaf has no gradient
            run = ops.route if form is Form.OPERATOR else reference.route
            dtype = computed_dtype(x)
            leaf = run(rows.to(dtype), weight.to(dtype), cast(bias, dtype))
    return leaf if is_batch else leaf.view(x.shape[:-1])


def run_node_tree(form: Form, arguments: TreeArguments) -> Tensor:
    """Return what `node_tree` does, of inputs (..., i), computed in the given form."""
    check = check_node_tree_shapes if form is DIRECT else check_node_tree
    check(arguments)
    x = arguments.x
    is_batch = x.dim() == 2
    if not is_batch:
        arguments = arguments._replace(x=as_rows(x))
    if form is DIRECT:
        kernels = compiled_for("cpu")
        assert kernels is not None
        out: Tensor = kernels.node_tree(arguments)
    else:
        arguments = arguments.to(computed_dtype(x))
        if form is Form.OPERATOR:
            out = ops.node_tree(*arguments)[0]
        else:
            out = reference.node_tree_with_path(arguments)[0]
    return out if is_batch else with_leading(out, x)


def run_chosen_experts(form: Form, arguments: ExpertArguments) -> Tensor:
    """Return what `chosen_experts` does, of inputs (..., i), computed in the given form."""
    x, expert, scale = arguments.x, arguments.expert, arguments.scale
    if form is DIRECT and is_cpu_int64(expert):
        check_chosen_experts_shapes(arguments)
    else:
        check_chosen_experts(arguments)
        expert = expert.resolve_neg()  # torch's indexing reads some as they lie in memory
        arguments = arguments._replace(expert=expert)
    is_batch = x.dim() == 2
    if not is_batch:
        scale = None if scale is None else as_rows(scale)
        arguments = arguments._replace(x=as_rows(x), expert=as_rows(expert), scale=scale)
    if form is DIRECT:
        kernels = compiled_for("cpu")
        assert kernels is not None
        out: Tensor = kernels.chosen_experts(arguments)
    else:
        arguments = arguments.to(computed_dtype(x))
        try:
            if form is Form.OPERATOR:
                out = ops.chosen_experts(*arguments)[0]
            else:
                out = reference.chosen_experts_with_hidden(arguments)[0]
        except IndexError:
            raise reference.no_such_expert(arguments.expert, len(arguments.w_in)) from None
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
    if torch._C._get_tracing_state() is not None:  # an operator's list of sizes is constant to it
        return out.view(shape)
    shaped: Tensor = torch.ops.aten._unsafe_view(out, shape)
    return shaped
