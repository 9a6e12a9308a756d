"""The kernels in plain PyTorch: what a CPU runs in the dtypes that `numba` doesn't compile.

They visit what the compiled kernels visit, and no more. The chosen experts take a matrix product an
expert: what `reference` copies for every choice, an expert's weights, stays in place here, and a
weight's gradient is one product, not a sum of outer ones. Sums have one order, whatever the number
of threads, and are taken in float32 at least. On another device it waits for the number of choices
of every expert.

Dimension letters: b batch, k selected, i in_features, h hidden, o out_features, e expert.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.kernels.activations import ACTIVATIONS, slope
from fastff.kernels.reference import ExpertArguments, at_least_float32, no_such_expert
from fastff.kernels.reference import node_tree_backward as node_tree_backward
from fastff.kernels.reference import node_tree_with_path as node_tree_with_path
from fastff.kernels.reference import route as route


def chosen_experts_with_hidden(arguments: ExpertArguments) -> tuple[Tensor, Tensor]:
    """Return outputs (b, o) and hidden units (b, k, h), as in `reference`.

    Raises IndexError for an expert that there isn't.
    """
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    order, each, parts = _by_expert(expert, len(w_in))
    x_each = x[order // expert.shape[1]]  # a choice each, by expert
    z = x.new_empty(len(order), w_in.shape[1])
    for e, part in parts:
        torch.mm(x_each[part], w_in[e].mT, out=z[part])
    if b_in is not None:
        z += b_in[each]
    hidden = ACTIVATIONS[activation](z)
    # scaled before the product, as in the dense form, which half precision then doesn't exceed
    factor = None if scale is None else scale.flatten()[order, None]
    if factor is not None:
        hidden = hidden * factor
    y = x.new_empty(len(order), w_out.shape[-1])
    for e, part in parts:
        torch.mm(hidden[part], w_out[e], out=y[part])
    if b_out is not None:
        y += b_out[each] if factor is None else factor * b_out[each]
    y, z = (_in_turn(t, order).unflatten(0, expert.shape) for t in (y, z))
    return y.sum(1), z


def chosen_experts_backward(
    grad: Tensor, z: Tensor, arguments: ExpertArguments
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x, w_in, w_out, scale, b_in and b_out, as in `reference`."""
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    order, each, parts = _by_expert(expert, len(w_in))
    row = order // expert.shape[1]
    x_each, grad_each, z = x[row], grad[row], z.flatten(0, 1)[order]  # a choice each, by expert
    hidden, d_hidden = ACTIVATIONS[activation](z), torch.empty_like(z)
    for e, part in parts:
        torch.mm(grad_each[part], w_out[e].mT, out=d_hidden[part])
    d_scale = d_b_in = d_b_out = None
    if scale is not None:
        by_choice = (d_hidden * hidden).sum(-1)
        if b_out is not None:
            by_choice += (grad_each * b_out[each]).sum(-1)
        d_scale = _in_turn(by_choice, order).view_as(scale)
        factor = scale.flatten()[order, None]
        d_hidden, grad_each = d_hidden * factor, grad_each * factor
    d_z = d_hidden * slope(z, activation)
    d_x_each, d_in, d_out = (
        torch.empty_like(x_each),
        torch.zeros_like(w_in),
        torch.zeros_like(w_out),
    )
    for e, part in parts:
        torch.mm(d_z[part], w_in[e], out=d_x_each[part])
        torch.mm(d_z[part].mT, x_each[part], out=d_in[e])
        torch.mm(hidden[part].mT, grad_each[part], out=d_out[e])
    d_x = _in_turn(d_x_each, order).unflatten(0, expert.shape).sum(1)
    if b_in is not None:
        d_b_in = _sums(d_z, each, like=b_in)
    if b_out is not None:
        d_b_out = _sums(grad_each, each, like=b_out)
    return d_x, d_in, d_out, d_scale, d_b_in, d_b_out


def _by_expert(expert: Tensor, n_experts: int) -> tuple[Tensor, Tensor, list[tuple[int, slice]]]:
    """Return the choices (b k,) sorted by expert, their experts, and those present with a part."""
    each, order = expert.flatten().sort(stable=True)
    present, counts = torch.unique_consecutive(each, return_counts=True)
    experts = present.tolist()
    if experts and not (experts[0] >= 0 and experts[-1] < n_experts):
        raise no_such_expert(expert, n_experts)
    stops = counts.cumsum(0)
    starts_and_stops = zip((stops - counts).tolist(), stops.tolist(), strict=True)
    parts = [slice(start, stop) for start, stop in starts_and_stops]
    return order, each, list(zip(experts, parts, strict=True))


def _in_turn(values: Tensor, order: Tensor) -> Tensor:
    """Return what is sorted by expert in the order of the choices."""
    return torch.empty_like(values).index_copy_(0, order, values)


def _sums(values: Tensor, each: Tensor, like: Tensor) -> Tensor:
    """Return the sum of the values (n, f) of each expert, as `like` (e, f)."""
    sums = torch.zeros_like(like, dtype=at_least_float32(like.dtype))
    return sums.index_add_(0, each, values.to(sums.dtype)).to(like.dtype)
