"""Matrix products of rows with the weights of their group, and the gradient of such weights."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.activations import CODES
from fastff.kernels.cuda.grouping import Groups, tile_rows
from fastff.kernels.cuda.numerics import PRECISION, activate, block_of, rows_contiguous

ROWS = 32  # that a program of `grouped_outer` sums at once


def tile_of(n_rows: int, n_groups: int) -> int:
    """Return rows per tile: about those of a group, so that few tiles are mostly empty."""
    return block_of(n_rows // n_groups, 64)


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
        scale: s, r numbers.

    """
    x = rows_contiguous(x)
    n_rows = len(groups.order)
    in_features, out_features = weight.shape[1:]
    out = x.new_empty(n_rows, out_features)
    if n_rows > 0:
        block_out = block_of(out_features, 128)
        _grouped_linear[(groups.max_tiles, triton.cdiv(out_features, block_out))](
            x, weight, bias, scale if scale is None else scale.contiguous(), out, *groups[:5],
            groups.n_groups, in_features, out_features, rows_per_value, x.stride(0),
            *weight.stride(), ACTIVATION=CODES[activation], TILE=groups.tile,
            WIDE=in_features * out_features >= 2**31,
            BLOCK_IN=block_of(in_features, 128 if x.element_size() == 2 else 64),
            BLOCK_OUT=block_out, num_warps=4, num_stages=3,
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
    out = values.new_empty(groups.n_groups, p, q)
    block_p, block_q = block_of(p, 64), block_of(q, 128)
    _grouped_outer[(groups.n_groups, triton.cdiv(p, block_p), triton.cdiv(q, block_q))](
        values, columns, out, groups.order, groups.offsets, p, q, columns_per_value,
        values.stride(0), columns.stride(0), ROWS=ROWS, BLOCK_P=block_p, BLOCK_Q=block_q,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    return out


@triton.jit
def _grouped_linear(
    x_ptr, w_ptr, b_ptr, scale_ptr, out_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_groups, in_features, out_features, rows_per_value, x_stride, w_group, w_in, w_out,
    ACTIVATION: tl.constexpr, WIDE: tl.constexpr, TILE: tl.constexpr, BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    if tile >= tl.load(tile_offsets_ptr + n_groups):
        return
    group, row, inside = tile_rows(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, TILE
    )
    w_ptr += group.to(tl.int64) * w_group
    to = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    exists = to < out_features
    column = tl.arange(0, BLOCK_IN)
    if WIDE:
        to, column = to.to(tl.int64), column.to(tl.int64)
    out = tl.zeros((TILE, BLOCK_OUT), tl.float32)
    for first in range(0, in_features, BLOCK_IN):
        there = first + column < in_features
        x = tl.load(
            x_ptr + (row // rows_per_value)[:, None] * x_stride + (first + column)[None, :],
            mask=inside[:, None] & there[None, :], other=0,
        )  # fmt: skip
        w = tl.load(
            w_ptr + (first + column)[:, None] * w_in + to[None, :] * w_out,
            mask=there[:, None] & exists[None, :], other=0,
        )  # fmt: skip
        hidden = activate(x.to(tl.float32), ACTIVATION).to(w.dtype)
        out = tl.dot(hidden, w, out, input_precision=PRECISION)
    if b_ptr is not None:
        bias = tl.load(b_ptr + group.to(tl.int64) * out_features + to, mask=exists, other=0)
        out += bias.to(tl.float32)[None, :]
    if scale_ptr is not None:
        out *= tl.load(scale_ptr + row, mask=inside, other=0).to(tl.float32)[:, None]
    place = row[:, None] * out_features + to[None, :]
    mask = inside[:, None] & exists[None, :]
    tl.store(out_ptr + place, out.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _grouped_outer(
    value_ptr, column_ptr, out_ptr, order_ptr, offsets_ptr, n_p, n_q, columns_per_value,
    value_stride, column_stride,
    ROWS: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(0)
    p = tl.program_id(1) * BLOCK_P + tl.arange(0, BLOCK_P)
    q = tl.program_id(2) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    out = tl.zeros((BLOCK_P, BLOCK_Q), tl.float32)
    end = tl.load(offsets_ptr + group + 1)
    for first in range(tl.load(offsets_ptr + group), end, ROWS):
        place = first + tl.arange(0, ROWS)
        inside = place < end
        row = tl.load(order_ptr + place, mask=inside, other=0).to(tl.int64)
        value = tl.load(
            value_ptr + row[:, None] * value_stride + p[None, :],
            mask=inside[:, None] & (p < n_p)[None, :], other=0,
        )  # fmt: skip
        column = tl.load(
            column_ptr + (row // columns_per_value)[:, None] * column_stride + q[None, :],
            mask=inside[:, None] & (q < n_q)[None, :], other=0,
        )  # fmt: skip
        out = tl.dot(tl.trans(value), column, out, input_precision=PRECISION)
    place = (group.to(tl.int64) * n_p + p)[:, None] * n_q + q[None, :]
    mask = (p < n_p)[:, None] & (q < n_q)[None, :]
    tl.store(out_ptr + place, out.to(out_ptr.dtype.element_ty), mask=mask)
