"""The chosen experts of every input: gathered for few inputs, in groups by expert for many.

A choice is one expert of one input; choice c of k a row belongs to row c // k. The index of an
expert that there isn't is a device-side assertion, as in torch.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels import tuning
from fastff.kernels.activations import ACTIVATIONS, CODES, slope
from fastff.kernels.reference import ExpertArguments
from fastff.kernels.triton.chunks import (
    add_kept,
    group_from,
    n_chunks,
    n_kept,
    n_pieces,
    piece_rows,
)
from fastff.kernels.triton.grouping import ASSERTING, Groups, group_rows, tile_rows
from fastff.kernels.triton.numerics import PRECISION, activate, block_of, rows_contiguous


def chosen_experts_with_hidden(arguments: ExpertArguments) -> tuple[Tensor, Tensor]:
    """Return outputs (b, o) and hidden units (b, k, h), as in `reference`.

    The inputs may have any strides, all others are contiguous.
    """
    n_choices, n_experts = arguments.expert.numel(), len(arguments.w_in)
    if n_choices >= max(tuning.GROUPED_CHOICES, tuning.GROUPED_CHOICES_PER_EXPERT * n_experts):
        return experts_grouped(arguments)
    return experts_gathered(arguments)


def experts_gathered(arguments: ExpertArguments) -> tuple[Tensor, Tensor]:
    """Return the same as `chosen_experts_with_hidden`: each choice reads its expert's weights."""
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    x = rows_contiguous(x)
    (n_rows, top_k), (_, hidden, in_features) = expert.shape, w_in.shape
    out_features = w_out.shape[-1]
    z = x.new_empty(n_rows, top_k, hidden)
    out = x.new_empty(n_rows, out_features)
    if n_rows > 0:
        _gathered_hidden[(n_rows * top_k, triton.cdiv(hidden, tuning.GATHERED_UNITS))](
            x, expert, w_in, b_in, z, len(w_in), top_k, hidden, in_features, x.stride(0),
            UNITS=tuning.GATHERED_UNITS, BLOCK=block_of(in_features, tuning.GATHERED_IN_BLOCK),
            num_warps=tuning.GATHERED_WARPS, **ASSERTING,
        )  # fmt: skip
        block_out = block_of(out_features, tuning.GATHERED_OUT_BLOCK)
        _gathered_out[(n_rows, triton.cdiv(out_features, block_out))](
            z, expert, scale, w_out, b_out, out, top_k, hidden, out_features,
            ACTIVATION=CODES[activation], UNITS=block_of(hidden, tuning.GATHERED_OUT_UNITS),
            BLOCK=block_out, num_warps=tuning.GATHERED_WARPS,
        )  # fmt: skip
    return out, z


def experts_grouped(arguments: ExpertArguments) -> tuple[Tensor, Tensor]:
    """Return the same as `chosen_experts_with_hidden`: a tile of an expert is a matrix product."""
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    n_rows, top_k = expert.shape
    groups = _by_expert(expert, len(w_in))
    z = grouped_linear(x, w_in.mT, groups, rows_per_value=top_k, bias=b_in)
    y = grouped_linear(z, w_out, groups, bias=b_out, activation=activation, scale=scale)
    out = y if top_k == 1 else y.unflatten(0, (n_rows, top_k)).sum(1)
    return out, z.unflatten(0, (n_rows, top_k))


def chosen_experts_backward(
    grad: Tensor, z: Tensor, arguments: ExpertArguments
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x, w_in, w_out, scale, b_in and b_out, as in `reference`.

    The inputs may have any strides, all others are contiguous.
    """
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    n_rows, top_k = expert.shape
    groups = _by_expert(expert, len(w_in))
    z = z.flatten(0, 1)  # of a choice each, (b k, h)
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
    ones = x.new_ones(1, 1).expand(n_rows * top_k, 1)
    if b_in is not None:
        d_b_in = grouped_outer(ones, d_z, groups).squeeze(1)
    if b_out is not None:
        factor = ones if scale is None else scale.view(-1, 1)
        d_b_out = grouped_outer(factor, grad, groups, columns_per_value=top_k).squeeze(1)
    return d_x, d_in, d_out, d_scale, d_b_in, d_b_out


def _by_expert(expert: Tensor, n_experts: int) -> Groups:
    """Return the choices (b k) sorted by expert, in tiles of about an expert's choices.

    So few tiles are mostly empty.
    """
    tile = block_of(expert.numel() // n_experts, tuning.GROUPED_TILE)
    return group_rows(expert.flatten(), n_experts, tile)


def grouped_linear(
    x: Tensor,
    weight: Tensor,
    groups: Groups,
    *,
    rows_per_value: int = 1,
    bias: Tensor | None = None,
    activation: str = "linear",
    scale: Tensor | None = None,
) -> Tensor:
    """Return s (a(x) W_g + b_g), (r, o), with the weights of each row's group g.

    Args:
        x: inputs (r / rows_per_value, i).
        weight: W, (g, i, o), with any strides.
        groups: of the r rows.
        rows_per_value: so many rows in turn share an input.
        bias: b, (g, o), contiguous.
        activation: a, a key of ACTIVATIONS, for the inputs.
        scale: s, r numbers, contiguous.

    """
    x = rows_contiguous(x)
    n_rows = len(groups.order)
    in_features, out_features = weight.shape[1:]
    out = x.new_empty(n_rows, out_features)
    if n_rows > 0:
        block_out = block_of(out_features, tuning.GROUPED_OUT_BLOCK)
        _grouped_linear[(groups.max_tiles, triton.cdiv(out_features, block_out))](
            x, weight, bias, scale, out, *groups[:5],
            groups.n_groups, in_features, out_features, rows_per_value, x.stride(0),
            *weight.stride(), ACTIVATION=CODES[activation], TILE=groups.tile,
            WIDE=in_features * out_features >= 2**31,
            BLOCK_IN=block_of(in_features, tuning.GROUPED_IN_BLOCK[x.element_size()]),
            BLOCK_OUT=block_out, **tuning.GROUPED_LAUNCH,
        )  # fmt: skip
    return out


def grouped_outer(
    values: Tensor, columns: Tensor, groups: Groups, *, columns_per_value: int = 1
) -> Tensor:
    """Return for every group the sum over its rows of value ⊗ column, (g, p, q).

    Args:
        values: (r, p).
        columns: (r / columns_per_value, q).
        groups: of the r rows.
        columns_per_value: so many rows in turn share a row of `columns`.

    """
    values, columns = rows_contiguous(values), rows_contiguous(columns)
    p, q = values.shape[-1], columns.shape[-1]
    n_rows, n_groups = len(values), groups.n_groups
    out = values.new_empty(n_groups, p, q)
    block_p, block_q = map(block_of, (p, q), tuning.OUTER_BLOCKS)
    blocks = triton.cdiv(p, block_p), triton.cdiv(q, block_q)
    chunk = tuning.chunk_rows(n_rows, math.prod(blocks))
    kept = values.new_empty(n_kept(n_rows, chunk), p, q, dtype=torch.float32)
    _grouped_outer[(n_pieces(n_rows, n_groups, chunk), *blocks)](
        values, columns, out, kept, groups.order, groups.offsets, n_groups, p, q,
        columns_per_value, values.stride(0), columns.stride(0), CHUNK=chunk,
        ROWS=tuning.OUTER_ROWS, BLOCK_P=block_p, BLOCK_Q=block_q, **tuning.GROUPED_LAUNCH,
    )  # fmt: skip
    if len(kept) > 0:
        block = block_of(p * q, tuning.KEPT_BLOCK)
        _add_outer[(triton.cdiv(p * q, block), n_chunks(n_rows, chunk))](
            out, kept, groups.offsets, n_groups, p * q, CHUNK=chunk, PARTS=tuning.KEPT_PARTS,
            BLOCK=block, num_warps=tuning.KEPT_WARPS,
        )  # fmt: skip
    return out


@triton.jit
def _gathered_hidden(
    x_ptr, expert_ptr, w_ptr, b_ptr, z_ptr, n_experts, top_k, n_hidden, in_features, x_stride,
    UNITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the hidden units z (b k, h) before activation; a program a choice and UNITS units.

    x (b, i) with row stride x_stride; expert (b k,) int64, w (e, h, i) and b (e, h) or None,
    contiguous.
    """
    choice = tl.program_id(0).to(tl.int64)
    expert = tl.load(expert_ptr + choice)
    assert (expert >= 0) & (expert < n_experts), "expert: an index is out of range"
    offs_h = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    mask_h = offs_h < n_hidden
    offs_i = tl.arange(0, BLOCK)
    x_ptr += choice // top_k * x_stride
    w_ptr += expert * n_hidden * in_features
    z = tl.zeros((UNITS, BLOCK), tl.float32)
    for first in range(0, in_features, BLOCK):
        mask_i = first + offs_i < in_features
        x = tl.load(x_ptr + first + offs_i, mask=mask_i, other=0).to(tl.float32)
        w = tl.load(
            w_ptr + offs_h[:, None].to(tl.int64) * in_features + (first + offs_i)[None, :],
            mask=mask_h[:, None] & mask_i[None, :], other=0,
        )  # fmt: skip
        z += x[None, :] * w.to(tl.float32)
    total = tl.sum(z, axis=1)
    if b_ptr is not None:
        total += tl.load(b_ptr + expert * n_hidden + offs_h, mask=mask_h, other=0).to(tl.float32)
    tl.store(z_ptr + choice * n_hidden + offs_h, total.to(z_ptr.dtype.element_ty), mask=mask_h)


@triton.jit
def _gathered_out(
    z_ptr, expert_ptr, scale_ptr, w_ptr, b_ptr, out_ptr, top_k, n_hidden, out_features,
    ACTIVATION: tl.constexpr, UNITS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the outputs (b, o); a program a row and BLOCK columns.

    All contiguous: z (b k, h), expert (b k,) int64, scale (b k,) or None, w (e, h, o) and b (e, o)
    or None.
    """
    row = tl.program_id(0).to(tl.int64)
    offs_o = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask_o = offs_o < out_features
    out = tl.zeros((BLOCK,), tl.float32)
    for k in range(top_k):
        choice = row * top_k + k
        expert = tl.load(expert_ptr + choice)
        y = tl.zeros((UNITS, BLOCK), tl.float32)
        for first in range(0, n_hidden, UNITS):
            offs_h = first + tl.arange(0, UNITS)
            mask_h = offs_h < n_hidden
            z = tl.load(z_ptr + choice * n_hidden + offs_h, mask=mask_h, other=0).to(tl.float32)
            w = tl.load(
                w_ptr + (expert * n_hidden + offs_h)[:, None] * out_features + offs_o[None, :],
                mask=mask_h[:, None] & mask_o[None, :], other=0,
            )  # fmt: skip
            y += activate(z, ACTIVATION)[:, None] * w.to(tl.float32)
        total = tl.sum(y, axis=0)
        if b_ptr is not None:
            total += tl.load(b_ptr + expert * out_features + offs_o, mask=mask_o, other=0).to(
                tl.float32
            )
        if scale_ptr is not None:
            total *= tl.load(scale_ptr + choice).to(tl.float32)
        out += total
    tl.store(out_ptr + row * out_features + offs_o, out.to(out_ptr.dtype.element_ty), mask=mask_o)


@triton.jit
def _grouped_linear(
    x_ptr, w_ptr, b_ptr, scale_ptr, out_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_groups, in_features, out_features, rows_per_value, x_stride, w_group, w_in, w_out,
    ACTIVATION: tl.constexpr, WIDE: tl.constexpr, TILE: tl.constexpr, BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    """Write out (r, o), contiguous; a program a tile and BLOCK_OUT columns.

    x (r / rows_per_value, i) with row stride x_stride; w (g, i, o) with strides w_group, w_in and
    w_out; b (g, o) and scale (r,), contiguous, or None; order to tile_first: the arrays of
    `Groups`. WIDE if the numbers of a group's weights take 64 bits to count.
    """
    tile = tl.program_id(0)
    if tile >= tl.load(tile_offsets_ptr + n_groups):
        return
    group, row, mask_row = tile_rows(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, TILE
    )
    w_ptr += group.to(tl.int64) * w_group
    offs_o = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    mask_o = offs_o < out_features
    offs_i = tl.arange(0, BLOCK_IN)
    if WIDE:
        offs_o, offs_i = offs_o.to(tl.int64), offs_i.to(tl.int64)
    out = tl.zeros((TILE, BLOCK_OUT), tl.float32)
    for first in range(0, in_features, BLOCK_IN):
        mask_i = first + offs_i < in_features
        x = tl.load(
            x_ptr + (row // rows_per_value)[:, None] * x_stride + (first + offs_i)[None, :],
            mask=mask_row[:, None] & mask_i[None, :], other=0,
        )  # fmt: skip
        w = tl.load(
            w_ptr + (first + offs_i)[:, None] * w_in + offs_o[None, :] * w_out,
            mask=mask_i[:, None] & mask_o[None, :], other=0,
        )  # fmt: skip
        hidden = activate(x.to(tl.float32), ACTIVATION).to(w.dtype)
        out = tl.dot(hidden, w, out, input_precision=PRECISION)
    if b_ptr is not None:
        bias = tl.load(b_ptr + group.to(tl.int64) * out_features + offs_o, mask=mask_o, other=0)
        out += bias.to(tl.float32)[None, :]
    if scale_ptr is not None:
        out *= tl.load(scale_ptr + row, mask=mask_row, other=0).to(tl.float32)[:, None]
    offs_out = row[:, None] * out_features + offs_o[None, :]
    mask_out = mask_row[:, None] & mask_o[None, :]
    tl.store(out_ptr + offs_out, out.to(out_ptr.dtype.element_ty), mask=mask_out)


@triton.jit
def _grouped_outer(
    value_ptr, column_ptr, out_ptr, kept_ptr, order_ptr, offsets_ptr, n_groups, n_p, n_q,
    columns_per_value, value_stride, column_stride,
    CHUNK: tl.constexpr, ROWS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """Write out (g, p, q) and what is kept; a program a piece and BLOCK_P x BLOCK_Q of its sums.

    value (r, p) and column (r / columns_per_value, q) with row strides value_stride and
    column_stride; order and offsets as in `Groups`; kept (n_kept, p, q), float32.
    """
    group, begin, end, kept = piece_rows(offsets_ptr, n_groups, tl.program_id(0), CHUNK)
    offs_p = tl.program_id(1) * BLOCK_P + tl.arange(0, BLOCK_P)
    offs_q = tl.program_id(2) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    out = tl.zeros((BLOCK_P, BLOCK_Q), tl.float32)
    for first in range(begin, end, ROWS):
        offs_sorted = first + tl.arange(0, ROWS)
        mask_row = offs_sorted < end
        row = tl.load(order_ptr + offs_sorted, mask=mask_row, other=0).to(tl.int64)
        value = tl.load(
            value_ptr + row[:, None] * value_stride + offs_p[None, :],
            mask=mask_row[:, None] & (offs_p < n_p)[None, :], other=0,
        )  # fmt: skip
        column = tl.load(
            column_ptr + (row // columns_per_value)[:, None] * column_stride + offs_q[None, :],
            mask=mask_row[:, None] & (offs_q < n_q)[None, :], other=0,
        )  # fmt: skip
        out = tl.dot(tl.trans(value), column, out, input_precision=PRECISION)
    mask = (offs_p < n_p)[:, None] & (offs_q < n_q)[None, :]
    if kept < 0:
        offs_out = (group.to(tl.int64) * n_p + offs_p)[:, None] * n_q + offs_q[None, :]
        tl.store(out_ptr + offs_out, out.to(out_ptr.dtype.element_ty), mask=mask)
    else:
        offs_kept = (kept.to(tl.int64) * n_p + offs_p)[:, None] * n_q + offs_q[None, :]
        tl.store(kept_ptr + offs_kept, out, mask=mask)


@triton.jit
def _add_outer(
    out_ptr, kept_ptr, offsets_ptr, n_groups, size,
    CHUNK: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write out (g, size) of the groups that were kept; a program a chunk and BLOCK numbers.

    kept (n_kept, size) float32, offsets as in `Groups`; all contiguous.
    """
    chunk = tl.program_id(1)
    group, last = group_from(offsets_ptr, n_groups, chunk, CHUNK)
    if last == chunk:
        return
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = offs < size
    out = add_kept(kept_ptr, chunk, last, size, offs, mask, PARTS, BLOCK)
    out_ptr += group.to(tl.int64) * size
    tl.store(out_ptr + offs, out.to(out_ptr.dtype.element_ty), mask=mask)
