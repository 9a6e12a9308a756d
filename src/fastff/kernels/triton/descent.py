"""Walks down a tree, right iff the node's logit z > 0, in two ways, and routing by the faster one.

Row by row a program walks one input down, the input kept on chip. As many dependent reads as
levels, each of one weight row: what counts is how many inputs are under way at once. So a row of up
to 1024 values is held by a single warp, which needs no barrier to add up a logit, and many such
programs share a multiprocessor. In half precision the number of features is known when the kernel
is compiled: without bounds to check, a warp takes fewer registers.

By blocks of levels a program walks a tile of inputs that share a node. The logits of all nodes in
the next few levels below it are one small matrix product, and every input picks its own path among
them. So weights are read once per tile, not once per input. Between blocks the inputs are sorted by
the node that they reached.

`torch.backends.cuda.matmul.allow_tf32` changes nothing here: logits rounded to TF32 would send
inputs the wrong way, and reading less is not what they would save.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels import tuning
from fastff.kernels.reference import levels_of
from fastff.kernels.triton.grouping import Groups, group_ranked, tile_rows
from fastff.kernels.triton.numerics import PRECISION, block_of, level_of, rows_contiguous


def route(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the leaf (b,), int64, that a walk from the root reaches, by the faster way.

    Args:
        x: inputs (b, i), with any strides.
        weight: of the nodes in heap order, (n, i), contiguous, in the dtype of `x`.
        bias: of the nodes, (n,).

    """
    levels = levels_of(len(weight))
    fills_tiles = len(x) >= tuning.ROUTE_BLOCKS_ROWS and levels <= tuning.FIRST_LEVELS
    descend = descend_blocks if fills_tiles and x.dtype != torch.float32 else descend_rows
    return descend(x, weight, bias, levels).reached


class Descent(NamedTuple):
    """Where a descent ended.

    Attributes:
        reached: the node that each input reached, counted from the left in its level, (b,), int64.
        groups: the inputs sorted by it; None if not asked for.

    """

    reached: Tensor
    groups: Groups | None


def descend_rows(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    levels: int,
    *,
    logits: Tensor | None = None,
    tile: int | None = None,
) -> Descent:
    """Walk every input down the first `levels` levels of a tree, right iff z > 0.

    Args:
        x: inputs (b, i), with any strides.
        weight: of the nodes in heap order, (n, i), contiguous, in the dtype of `x`.
        bias: of the nodes (n,).
        levels: to descend, at most those of the tree.
        logits: where those of the visited nodes are written, (b, l), float32, contiguous.
        tile: rows of a tile, to sort the inputs by the node reached.

    """
    x = rows_contiguous(x)
    n_rows, in_features = x.shape
    reached = x.new_empty(n_rows, dtype=torch.long)
    counts = None if tile is None else x.new_zeros(2**levels, dtype=torch.int32)
    rank = None if tile is None else x.new_empty(n_rows, dtype=torch.int32)
    if n_rows > 0:
        block = block_of(in_features, tuning.ROW_BLOCK)
        _descend_row[(n_rows,)](
            x, weight, bias, reached, logits, counts, rank, levels, 2**levels - 1,
            in_features, x.stride(0), 0 if logits is None else logits.stride(0),
            FEATURES=in_features if x.element_size() == 2 else 0, BLOCK=block,
            WIDTH=triton.next_power_of_2(levels), num_warps=tuning.row_warps(block),
        )  # fmt: skip
    if tile is None or counts is None or rank is None:
        return Descent(reached, None)
    return Descent(reached, group_ranked(reached, counts, rank, tile))


@triton.jit
def row_logit(x_ptr, w_ptr, x, in_features, BLOCK: tl.constexpr):
    """Return <w, x> of one row (in_features,) each, float32; `x` is its first BLOCK values."""
    offs_i = tl.arange(0, BLOCK)
    w = tl.load(w_ptr + offs_i, mask=offs_i < in_features, other=0).to(tl.float32)
    products = x * w
    for start in range(BLOCK, in_features, BLOCK):
        mask_i = start + offs_i < in_features
        w = tl.load(w_ptr + start + offs_i, mask=mask_i, other=0).to(tl.float32)
        more = tl.load(x_ptr + start + offs_i, mask=mask_i, other=0).to(tl.float32)
        products += more * w
    return tl.sum(products)


@triton.jit
def _descend_row(
    x_ptr, w_ptr, b_ptr, reached_ptr, logit_ptr, counts_ptr, rank_ptr,
    levels, n_above, in_features, x_stride, logit_stride,
    FEATURES: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Walk one row down `levels` levels; a program a row.

    x (b, i) with row stride x_stride; w (n, i) and b (n,) or None, contiguous, n >= n_above; both
    of one dtype. Written: reached (b,) int64; logit (b, levels) float32 with row stride
    logit_stride, or None; counts (n_above + 1,) and rank (b,), int32, or None. FEATURES is i where
    it is a constant, else 0; BLOCK a power of 2, WIDTH one that is at least `levels`.
    """
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * x_stride
    offs_i = tl.arange(0, BLOCK)
    if FEATURES > 0:
        in_features = FEATURES
    x = tl.load(
        x_ptr + offs_i, mask=offs_i < in_features, other=0, eviction_policy="evict_first"
    ).to(tl.float32)  # fmt: skip
    node = tl.zeros((), tl.int32)
    at = tl.arange(0, WIDTH)
    logits = tl.zeros((WIDTH,), tl.float32)
    for level in range(levels):
        z = row_logit(x_ptr, w_ptr + node.to(tl.int64) * in_features, x, in_features, BLOCK)
        if b_ptr is not None:
            z += tl.load(b_ptr + node).to(tl.float32)
        logits = tl.where(at == level, z, logits)
        node = 2 * node + 1 + (z > 0).to(tl.int32)
    if logit_ptr is not None:
        tl.store(logit_ptr + row * logit_stride + at, logits, mask=at < levels)
    reached = node - n_above
    tl.store(reached_ptr + row, reached.to(tl.int64))
    if counts_ptr is not None:
        tl.store(rank_ptr + row, tl.atomic_add(counts_ptr + reached, 1, sem="relaxed"))


def descend_blocks(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    levels: int,
    *,
    logits: Tensor | None = None,
    tile: int | None = None,
) -> Descent:
    """Walk every input down the first `levels` levels of a tree, right iff z > 0.

    Args:
        x: inputs (b, i), with any strides, b at least 1.
        weight: of the nodes in heap order, (n, i), contiguous, in the dtype of `x`.
        bias: of the nodes (n,).
        levels: to descend, at most those of the tree.
        logits: where those of the visited nodes are written, (b, l), float32, contiguous.
        tile: rows of a tile, to sort the inputs by the node reached.

    """
    x = rows_contiguous(x)
    n_rows, in_features = x.shape
    # blocks after the first
    n_more = max(0, -((tuning.FIRST_LEVELS - levels) // tuning.BLOCK_LEVELS))
    reached = x.new_empty(n_rows, dtype=torch.long)
    rank = x.new_empty(n_rows, dtype=torch.int32)
    groups = None
    start = 0
    first_stop = levels - tuning.BLOCK_LEVELS * n_more
    for stop in range(first_stop, levels + 1, tuning.BLOCK_LEVELS):
        nodes = max(16, 2 ** (stop - start))
        is_full = nodes >= tuning.WIDE_NODES and n_rows >= tuning.WIDE_ROWS
        wide = groups is None and is_full
        rows = tuning.descent_tile(n_rows, 1) if groups is None else groups.tile
        if wide:
            rows = tuning.WIDE_TILE
        next_rows = tuning.descent_tile(n_rows, 2**stop) if stop < levels else tile
        counts = None if next_rows is None else x.new_zeros(2**stop, dtype=torch.int32)
        n_tiles = triton.cdiv(n_rows, rows) if groups is None else groups.max_tiles
        _descend_block[(n_tiles,)](
            x, weight, bias, reached, logits, counts, rank,
            *(groups[:5] if groups is not None else [None] * 5),
            n_rows, in_features, x.stride(0), 0 if logits is None else logits.stride(0),
            start, 2**start, LEVELS=stop - start, NODES=nodes, TILE=rows,
            BLOCK=block_of(in_features, tuning.descent_columns((rows + nodes) * x.element_size())),
            num_warps=tuning.WIDE_WARPS if wide else tuning.BLOCKS_WARPS,
            num_stages=tuning.BLOCKS_STAGES,
        )  # fmt: skip
        if counts is not None and next_rows is not None:
            groups = group_ranked(reached, counts, rank, next_rows)
        start = stop
    return Descent(reached, None if tile is None else groups)


@triton.jit
def tile_place(
    order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, n_rows, TILE: tl.constexpr
):
    """Return the group of a tile, its rows and which there are; without groups, of all in turn."""
    if order_ptr is not None:
        group, row, mask_row = tile_rows(
            order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, TILE
        )
    else:
        group = tl.zeros((), tl.int32)
        row = tile.to(tl.int64) * TILE + tl.arange(0, TILE)
        mask_row = row < n_rows
    return group, row, mask_row


@triton.jit
def block_logits(
    x_ptr, w_ptr, b_ptr, row, mask_row, node, mask_node, in_features, x_stride,
    TILE: tl.constexpr, NODES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the logits (TILE, NODES), float32, of a tile's rows at some nodes.

    x (b, i) with row stride x_stride; w (n, i) and b (n,) or None, contiguous; `row` and `mask_row`
    (TILE,), `node` and `mask_node` (NODES,): indices, and which of them there are.
    """
    offs_i = tl.arange(0, BLOCK)
    z = tl.zeros((TILE, NODES), tl.float32)
    for first in range(0, in_features, BLOCK):
        mask_i = first + offs_i < in_features
        x = tl.load(
            x_ptr + row[:, None] * x_stride + (first + offs_i)[None, :],
            mask=mask_row[:, None] & mask_i[None, :], other=0,
        )  # fmt: skip
        w = tl.load(
            w_ptr + node[:, None] * in_features + (first + offs_i)[None, :],
            mask=mask_node[:, None] & mask_i[None, :], other=0,
        )  # fmt: skip
        z = tl.dot(x, tl.trans(w), z, input_precision=PRECISION)
    if b_ptr is not None:
        z += tl.load(b_ptr + node, mask=mask_node, other=0).to(tl.float32)[None, :]
    return z


@triton.jit
def walk(
    z, logit_ptr, row, mask_row, logit_stride,
    LEVELS: tl.constexpr, TILE: tl.constexpr, NODES: tl.constexpr,
):  # fmt: skip
    """Return where each row ends below a block of `LEVELS` levels, counted from the left, int32.

    Given the logits `z` (TILE, NODES) of the block's nodes in heap order; those of the visited
    nodes are written to `logit_ptr`, if there is one.
    """
    local = tl.arange(0, NODES)
    at = tl.zeros((TILE,), tl.int32)
    for level in tl.static_range(LEVELS):
        z_at = tl.sum(tl.where(local[None, :] == at[:, None], z, 0.0), axis=1)
        if logit_ptr is not None:
            tl.store(logit_ptr + row * logit_stride + level, z_at, mask=mask_row)
        at = 2 * at + 1 + (z_at > 0).to(tl.int32)
    return at - ((1 << LEVELS) - 1)


@triton.jit
def _descend_block(
    x_ptr, w_ptr, b_ptr, reached_ptr, logit_ptr, counts_ptr, rank_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_rows, in_features, x_stride, logit_stride, start, n_groups,
    LEVELS: tl.constexpr, NODES: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Walk a tile of rows that share a node down the next `LEVELS` levels; a program a tile.

    x, w, b as in `block_logits`; order to tile_first: the arrays of `Groups` by the node reached at
    level `start`, of which there are n_groups = 2**start, or None for all rows in turn. Written:
    reached (b,) int64; logit (b, >= start + LEVELS) float32, or None; counts
    (n_groups 2**LEVELS,) and rank (b,), int32, or None. NODES is 2**LEVELS, at least 16.
    """
    tile = tl.program_id(0)
    if order_ptr is not None:
        if tile >= tl.load(tile_offsets_ptr + n_groups):
            return
    group, row, mask_row = tile_place(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, n_rows, TILE
    )
    root = n_groups - 1 + group
    offs_node = tl.arange(0, NODES)
    mask_node = offs_node < (1 << LEVELS) - 1
    node = (root.to(tl.int64) << level_of(offs_node, LEVELS)) + offs_node
    z = block_logits(
        x_ptr,
        w_ptr,
        b_ptr,
        row,
        mask_row,
        node,
        mask_node,
        in_features,
        x_stride,
        TILE,
        NODES,
        BLOCK,
    )
    if logit_ptr is not None:
        logit_ptr += start
    reached = (group << LEVELS) + walk(
        z, logit_ptr, row, mask_row, logit_stride, LEVELS, TILE, NODES
    )
    tl.store(reached_ptr + row, reached.to(tl.int64), mask=mask_row)
    if counts_ptr is not None:
        rank = tl.atomic_add(counts_ptr + reached, 1, mask=mask_row, sem="relaxed")
        tl.store(rank_ptr + row, rank, mask=mask_row)
