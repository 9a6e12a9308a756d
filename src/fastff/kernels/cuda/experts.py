"""The chosen experts of every input: gathered for few inputs, in groups by expert for many.

A choice is one expert of one input; choice c of k a row belongs to row c // k. The index of an
expert that there isn't is a device-side assertion, as in torch.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.activations import ACTIVATIONS, CODES, slope
from fastff.kernels.cuda.grouped_linear import grouped_linear, grouped_outer, tile_of
from fastff.kernels.cuda.grouping import ASSERTING, Groups, group_rows
from fastff.kernels.cuda.numerics import activate, block_of, rows_contiguous

MIN_CHOICES = 1024  # fewer are gathered one by one
MIN_CHOICES_PER_EXPERT = 2


def chosen_experts_with_hidden(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None = None,
    b_in: Tensor | None = None,
    b_out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Sum s_k E_k(x) over an input's k chosen experts, E(x) = a(x W_inᵀ + b_in) W_out + b_out.

    Args:
        x: inputs (b, i), with any strides.
        expert: indices of the chosen experts, (b, k), int64.
        w_in: (e, h, i), contiguous, in the dtype of `x`.
        w_out: (e, h, o), likewise.
        activation: a, a key of ACTIVATIONS.
        scale: s, (b, k); None is 1.
        b_in: (e, h).
        b_out: (e, o).

    Returns:
        Outputs (b, o), and the hidden units before activation (b, k, h).

    """
    n_choices = expert.numel()
    if n_choices >= max(MIN_CHOICES, MIN_CHOICES_PER_EXPERT * len(w_in)):
        return experts_grouped(x, expert, w_in, w_out, activation, scale, b_in, b_out)
    return experts_gathered(x, expert, w_in, w_out, activation, scale, b_in, b_out)


def experts_gathered(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None = None,
    b_in: Tensor | None = None,
    b_out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the same as `chosen_experts_with_hidden`: each choice reads its expert's weights."""
    x, expert = rows_contiguous(x), expert.contiguous()
    (n_rows, top_k), (_, hidden, in_features) = expert.shape, w_in.shape
    out_features = w_out.shape[-1]
    z = x.new_empty(n_rows, top_k, hidden)
    out = x.new_empty(n_rows, out_features)
    if n_rows > 0:
        block_in = block_of(in_features, 1024)
        _gathered_hidden[(n_rows * top_k, triton.cdiv(hidden, 8))](
            x, expert, w_in, b_in, z, len(w_in), top_k, hidden, in_features, x.stride(0),
            UNITS=8, BLOCK=block_in, num_warps=4, **ASSERTING,
        )  # fmt: skip
        block_out = block_of(out_features, 128)
        _gathered_out[(n_rows, triton.cdiv(out_features, block_out))](
            z, expert, scale if scale is None else scale.contiguous(), w_out, b_out, out,
            top_k, hidden, out_features,
            ACTIVATION=CODES[activation], UNITS=block_of(hidden, 64), BLOCK=block_out, num_warps=4,
        )  # fmt: skip
    return out, z


def experts_grouped(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None = None,
    b_in: Tensor | None = None,
    b_out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the same as `chosen_experts_with_hidden`: a tile of an expert is a matrix product."""
    n_rows, top_k = expert.shape
    groups = _by_expert(expert, len(w_in))
    z = grouped_linear(x, w_in.mT, groups, rows_per_value=top_k, bias=b_in)
    y = grouped_linear(z, w_out, groups, bias=b_out, activation=activation, scale=scale)
    out = y if top_k == 1 else y.unflatten(0, (n_rows, top_k)).sum(1)
    return out, z.unflatten(0, (n_rows, top_k))


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

    Arguments as in `reference.chosen_experts_backward`; weights and biases contiguous.
    """
    n_rows, top_k = expert.shape
    groups = _by_expert(expert, len(w_in))
    each, z = expert.flatten(), z.flatten(0, 1)  # a choice each: (b k,), (b k, h)
    hidden = ACTIVATIONS[activation](z)
    d_hidden = grouped_linear(grad, w_out.mT, groups, rows_per_value=top_k)
    d_scale = d_b_in = d_b_out = None
    if scale is not None:
        by_choice = (d_hidden * hidden).sum(-1, dtype=torch.float32)
        if b_out is not None:
            by_choice += (grad.unsqueeze(1) * b_out[expert]).sum(-1, dtype=torch.float32).flatten()
        d_scale = by_choice.to(scale.dtype).view_as(scale)
        d_hidden, hidden = d_hidden * scale.view(-1, 1), hidden * scale.view(-1, 1)
    d_z = d_hidden * slope(z, activation)
    d_x = grouped_linear(d_z, w_in, groups)
    d_x = d_x if top_k == 1 else d_x.unflatten(0, (n_rows, top_k)).sum(1)
    d_in = grouped_outer(d_z, x, groups, columns_per_value=top_k)
    d_out = grouped_outer(hidden, grad, groups, columns_per_value=top_k)
    if b_in is not None:
        d_b_in = torch.zeros_like(b_in).index_add_(0, each, d_z)
    if b_out is not None:
        scaled = grad.unsqueeze(1).expand(-1, top_k, -1)
        scaled = scaled if scale is None else scaled * scale.unsqueeze(-1)
        d_b_out = torch.zeros_like(b_out).index_add_(0, each, scaled.flatten(0, 1))
    return d_x, d_in, d_out, d_scale, d_b_in, d_b_out


def _by_expert(expert: Tensor, n_experts: int) -> Groups:
    """Return the choices (b k) sorted by expert."""
    return group_rows(expert.flatten(), n_experts, tile_of(expert.numel(), n_experts))


@triton.jit
def _gathered_hidden(
    x_ptr, expert_ptr, w_ptr, b_ptr, z_ptr, n_experts, top_k, n_hidden, in_features, x_stride,
    UNITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    choice = tl.program_id(0).to(tl.int64)
    expert = tl.load(expert_ptr + choice)
    assert (expert >= 0) & (expert < n_experts), "expert: an index is out of range"
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    exists = unit < n_hidden
    column = tl.arange(0, BLOCK)
    x_ptr += choice // top_k * x_stride
    w_ptr += expert * n_hidden * in_features
    z = tl.zeros((UNITS, BLOCK), tl.float32)
    for first in range(0, in_features, BLOCK):
        there = first + column < in_features
        x = tl.load(x_ptr + first + column, mask=there, other=0).to(tl.float32)
        w = tl.load(
            w_ptr + unit[:, None].to(tl.int64) * in_features + (first + column)[None, :],
            mask=exists[:, None] & there[None, :], other=0,
        )  # fmt: skip
        z += x[None, :] * w.to(tl.float32)
    total = tl.sum(z, axis=1)
    if b_ptr is not None:
        total += tl.load(b_ptr + expert * n_hidden + unit, mask=exists, other=0).to(tl.float32)
    tl.store(z_ptr + choice * n_hidden + unit, total.to(z_ptr.dtype.element_ty), mask=exists)


@triton.jit
def _gathered_out(
    z_ptr, expert_ptr, scale_ptr, w_ptr, b_ptr, out_ptr, top_k, n_hidden, out_features,
    ACTIVATION: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = column < out_features
    out = tl.zeros((BLOCK,), tl.float32)
    for k in range(top_k):
        choice = row * top_k + k
        expert = tl.load(expert_ptr + choice)
        y = tl.zeros((UNITS, BLOCK), tl.float32)
        for first in range(0, n_hidden, UNITS):
            unit = first + tl.arange(0, UNITS)
            exists = unit < n_hidden
            z = tl.load(z_ptr + choice * n_hidden + unit, mask=exists, other=0).to(tl.float32)
            w = tl.load(
                w_ptr + (expert * n_hidden + unit)[:, None] * out_features + column[None, :],
                mask=exists[:, None] & there[None, :], other=0,
            )  # fmt: skip
            y += activate(z, ACTIVATION)[:, None] * w.to(tl.float32)
        total = tl.sum(y, axis=0)
        if b_ptr is not None:
            total += tl.load(b_ptr + expert * out_features + column, mask=there, other=0).to(
                tl.float32
            )
        if scale_ptr is not None:
            total *= tl.load(scale_ptr + choice).to(tl.float32)
        out += total
    tl.store(out_ptr + row * out_features + column, out.to(out_ptr.dtype.element_ty), mask=there)
