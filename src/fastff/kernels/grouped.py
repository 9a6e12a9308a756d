"""The chosen experts' gradients in plain PyTorch, by a matrix product an expert.

What `reference` copies for every choice, an expert's weights, stays in place here, and a weight's
gradient is one product, not a sum of outer ones. For any dtype. Sums have one order, whatever the
number of threads. On a device it waits for the number of choices of every expert.

Dimension letters: b batch, k selected, i in_features, h hidden, o out_features, e expert.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.kernels.activations import ACTIVATIONS, slope
from fastff.kernels.reference import no_such_expert


def chosen_experts_backward(
    grad: Tensor,
    z: Tensor,
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None = None,
    b_in: Tensor | None = None,
    b_out: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x, w_in, w_out, scale, b_in and b_out; None where there was None.

    Args:
        grad: gradient of the outputs (b, o).
        z: the hidden units before activation, (b, k, h).
        x: and the other arguments of `chosen_experts_with_hidden`.
        expert: (b, k).
        w_in: (e, h, i).
        w_out: (e, h, o).
        activation: a key of ACTIVATIONS.
        scale: (b, k).
        b_in: (e, h).
        b_out: (e, o).

    """
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
        d_b_in = torch.zeros_like(b_in).index_add_(0, each, d_z)
    if b_out is not None:
        d_b_out = torch.zeros_like(b_out).index_add_(0, each, grad_each)
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
