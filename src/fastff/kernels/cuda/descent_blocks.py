"""Descent by blocks of levels: a tile of inputs, and all nodes in the next few levels below.

The inputs of a tile share a node. The logits of the nodes below it are one small matrix product,
and every input picks its own path among them. So weights are read once per tile, not once per
input. Between blocks the inputs are sorted by the node that they reached.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.cuda.descent_rows import Descent
from fastff.kernels.cuda.grouping import group_ranked, tile_rows
from fastff.kernels.cuda.numerics import PRECISION, block_of, level_of, rows_contiguous

BLOCK_LEVELS = 4  # levels of every block but the first: 15 nodes, the narrowest matrix product
FIRST_LEVELS = 8  # most levels of the first block
WIDE_ROWS = 128 * 128  # so many fill a device in tiles of 128
STAGES = 4  # of the loop over columns, in shared memory at once
SHARED_BYTES = 96 * 1024  # that every GPU since Ampere has


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
    n_more = max(0, -((FIRST_LEVELS - levels) // BLOCK_LEVELS))  # blocks after the first
    reached = x.new_empty(n_rows, dtype=torch.long)
    rank = x.new_empty(n_rows, dtype=torch.int32)
    groups = None
    start = 0
    for stop in range(levels - BLOCK_LEVELS * n_more, levels + 1, BLOCK_LEVELS):
        nodes = max(16, 2 ** (stop - start))
        wide = groups is None and nodes >= 256 and n_rows >= WIDE_ROWS
        rows = 128 if wide else _tile(n_rows, 1) if groups is None else groups.tile
        next_rows = _tile(n_rows, 2**stop) if stop < levels else tile
        counts = None if next_rows is None else x.new_zeros(2**stop, dtype=torch.int32)
        n_tiles = triton.cdiv(n_rows, rows) if groups is None else groups.max_tiles
        _descend_block[(n_tiles,)](
            x, weight, bias, reached, logits, counts, rank,
            *(groups[:5] if groups is not None else [None] * 5),
            n_rows, in_features, x.stride(0), 0 if logits is None else logits.stride(0),
            start, 2**start, LEVELS=stop - start, NODES=nodes, TILE=rows,
            BLOCK=block_of(in_features, _columns((rows + nodes) * x.element_size() * STAGES)),
            num_warps=8 if wide else 4, num_stages=STAGES,
        )  # fmt: skip
        if counts is not None and next_rows is not None:
            groups = group_ranked(reached, counts, rank, next_rows)
        start = stop
    return Descent(reached, None if tile is None else groups)


def _tile(n_rows: int, n_groups: int) -> int:
    """Return rows per tile: few enough that most tiles are full."""
    return 64 if n_rows >= 256 * n_groups else 32


def _columns(bytes_each: int) -> int:
    """Return the columns, 128 at most, of which the stages fit into shared memory."""
    return min(128, 1 << ((SHARED_BYTES // bytes_each).bit_length() - 1))


@triton.jit
def tile_place(
    order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, n_rows, TILE: tl.constexpr
):
    """Return the group of a tile, its rows and which there are; without groups, of all in turn."""
    if order_ptr is not None:
        group, row, inside = tile_rows(
            order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, TILE
        )
    else:
        group = tl.zeros((), tl.int32)
        row = tile.to(tl.int64) * TILE + tl.arange(0, TILE)
        inside = row < n_rows
    return group, row, inside


@triton.jit
def block_logits(
    x_ptr, w_ptr, b_ptr, row, inside, node, exists, in_features, x_stride,
    TILE: tl.constexpr, NODES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Return the logits (TILE, NODES), float32, of a tile's rows at some nodes."""
    column = tl.arange(0, BLOCK)
    z = tl.zeros((TILE, NODES), tl.float32)
    for first in range(0, in_features, BLOCK):
        there = first + column < in_features
        x = tl.load(
            x_ptr + row[:, None] * x_stride + (first + column)[None, :],
            mask=inside[:, None] & there[None, :], other=0,
        )  # fmt: skip
        w = tl.load(
            w_ptr + node[:, None] * in_features + (first + column)[None, :],
            mask=exists[:, None] & there[None, :], other=0,
        )  # fmt: skip
        z = tl.dot(x, tl.trans(w), z, input_precision=PRECISION)
    if b_ptr is not None:
        z += tl.load(b_ptr + node, mask=exists, other=0).to(tl.float32)[None, :]
    return z


@triton.jit
def walk(
    z, logit_ptr, row, inside, logit_stride,
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
            tl.store(logit_ptr + row * logit_stride + level, z_at, mask=inside)
        at = 2 * at + 1 + (z_at > 0).to(tl.int32)
    return at - ((1 << LEVELS) - 1)


@triton.jit
def _descend_block(
    x_ptr, w_ptr, b_ptr, reached_ptr, logit_ptr, counts_ptr, rank_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_rows, in_features, x_stride, logit_stride, start, n_groups,
    LEVELS: tl.constexpr, NODES: tl.constexpr, TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    if order_ptr is not None:
        if tile >= tl.load(tile_offsets_ptr + n_groups):
            return
    group, row, inside = tile_place(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, n_rows, TILE
    )
    root = n_groups - 1 + group
    local = tl.arange(0, NODES)
    exists = local < (1 << LEVELS) - 1
    node = (root.to(tl.int64) << level_of(local, LEVELS)) + local
    z = block_logits(
        x_ptr, w_ptr, b_ptr, row, inside, node, exists, in_features, x_stride, TILE, NODES, BLOCK
    )
    if logit_ptr is not None:
        logit_ptr += start
    reached = (group << LEVELS) + walk(z, logit_ptr, row, inside, logit_stride, LEVELS, TILE, NODES)
    tl.store(reached_ptr + row, reached.to(tl.int64), mask=inside)
    if counts_ptr is not None:
        rank = tl.atomic_add(counts_ptr + reached, 1, mask=inside, sem="relaxed")
        tl.store(rank_ptr + row, rank, mask=inside)
