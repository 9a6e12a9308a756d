"""Products with the nodes on each input's path, once the paths are known.

Inputs are sorted by the node that they reach `tuning.SUBTREE` levels above the leaves. All inputs
of such a group share the nodes above it, one a level, and visit among the few below it. So the
nodes that a tile of inputs visits are at most 16 + 15 columns of a matrix product, whatever the
depth: the work follows the visited nodes, and weights are read once per tile.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels import tuning
from fastff.kernels.activations import CODES
from fastff.kernels.triton.chunks import (
    add_kept,
    group_from,
    n_chunks,
    n_kept,
    n_pieces,
    piece_rows,
)
from fastff.kernels.triton.grouping import Groups, group_rows, tile_rows
from fastff.kernels.triton.numerics import PRECISION, activate, block_of, level_of

MAX_LEVELS = 20
TILE = tuning.TREE_TILE
SUBTREE_LEVELS = tl.constexpr(tuning.SUBTREE)
BELOW = tl.constexpr(2**tuning.SUBTREE)  # columns for the nodes of a group's subtree, one unused
ABOVE = tl.constexpr(MAX_LEVELS - tuning.SUBTREE)  # columns for the nodes above it
COLUMNS = tl.constexpr(ABOVE.value + BELOW.value)


def levels_above(levels: int) -> int:
    """Return the level of the nodes by which inputs are grouped: the levels above a subtree."""
    if levels > MAX_LEVELS:
        raise ValueError(f"{levels} levels: the kernels take at most {MAX_LEVELS}")
    return max(0, levels - tuning.SUBTREE)


def path_groups(leaf: Tensor, levels: int) -> Groups:
    """Return inputs sorted by the node above `leaf` (b,) in which their subtree starts."""
    above = levels_above(levels)
    return group_rows(leaf >> (levels - above), 2**above, TILE)


def path_sum(
    out: Tensor, coefficients: Tensor, weight: Tensor, groups: Groups, levels: int, *, add: bool
) -> None:
    """Write Σ_j c_j w_j over the nodes on every input's path to `out`, or add it.

    Args:
        out: (b, f), contiguous.
        coefficients: c, by tile, (tiles, TILE, COLUMNS), of the nodes as in `path_columns`.
        weight: of the nodes (n, f), contiguous.
        groups: of the inputs.
        levels: of the tree.
        add: add to `out` instead of overwriting it.

    """
    features = weight.shape[-1]
    if groups.max_tiles > 0:
        _path_sum[(groups.max_tiles,)](
            out, coefficients, weight, *groups[:5], groups.n_groups, features,
            LEVELS=levels, GROUP_LEVEL=levels_above(levels), ADD=add, TILE=TILE,
            BLOCK=block_of(features, tuning.PATH_BLOCK), **tuning.PATH_SUM_LAUNCH,
        )  # fmt: skip


def path_outer(
    d_w: Tensor, coefficients: Tensor, values: Tensor, groups: Groups, levels: int
) -> None:
    """Write Σ c_j value over the inputs that visit node j to `d_w`.

    No two programs write to one place: one sums over a piece of a group's inputs. The nodes of the
    group's subtree are its own; for the nodes above it, which groups share, a piece leaves a part
    that a last pass adds up, as another does for the subtrees of groups of several pieces.

    Args:
        d_w: (n, f), contiguous.
        coefficients: c, by tile, (tiles, TILE, COLUMNS), of the nodes as in `path_columns`.
        values: (b, f), the values of a row side by side.
        groups: of the inputs.
        levels: of the tree.

    """
    (n_rows, features), above = values.shape, levels_above(levels)
    block = block_of(features, tuning.PATH_BLOCK)
    n_blocks = triton.cdiv(features, block)
    chunk = tuning.chunk_rows(n_rows, n_blocks)
    pieces = n_pieces(n_rows, groups.n_groups, chunk)
    parts = d_w.new_empty(pieces, above, features, dtype=torch.float32)
    kept = d_w.new_empty(n_kept(n_rows, chunk), BELOW.value, features, dtype=torch.float32)
    _path_outer[(pieces, n_blocks)](
        d_w, parts, kept, coefficients, values, groups.order, groups.offsets, groups.tile_offsets,
        groups.n_groups, features, values.stride(0),
        LEVELS=levels, GROUP_LEVEL=above, CHUNK=chunk, TILE=TILE, ROWS=tuning.PATH_OUTER_ROWS,
        BLOCK=block, **tuning.PATH_OUTER_LAUNCH,
    )  # fmt: skip
    if above > 0:
        block = block_of(features, tuning.PARTS_BLOCK)
        _add_parts[(2**above - 1, triton.cdiv(features, block))](
            d_w, parts, groups.offsets, features, GROUP_LEVEL=above, CHUNK=chunk,
            PARTS=tuning.PARTS, BLOCK=block, num_warps=tuning.PARTS_WARPS,
        )  # fmt: skip
    if len(kept) > 0:
        size = BELOW.value * features
        block = block_of(size, tuning.KEPT_BLOCK)
        _add_subtrees[(triton.cdiv(size, block), n_chunks(n_rows, chunk))](
            d_w, kept, groups.offsets, groups.n_groups, features,
            LEVELS=levels, GROUP_LEVEL=above, CHUNK=chunk, PARTS=tuning.KEPT_PARTS, BLOCK=block,
            num_warps=tuning.KEPT_WARPS,
        )  # fmt: skip


def rows_again(
    w_out: Tensor, out: Tensor, sums: Tensor, logits: Tensor, leaf: Tensor, activation: str
) -> None:
    """Write to `out` the outputs of rows whose sum is NaN again, from visited nodes alone.

    Args:
        w_out: (t, n, o), contiguous.
        out: (b, o), contiguous.
        sums: of its rows, (b,), float32.
        logits: of the visited nodes, (t, b, l), float32, contiguous.
        leaf: reached in each tree, (t, b), contiguous.
        activation: a key of ACTIVATIONS.

    """
    n_trees, n_rows, levels = logits.shape
    n_nodes, features = w_out.shape[1:]
    if n_rows > 0:
        _rows_again[(triton.cdiv(n_rows, TILE),)](
            w_out, out, sums, logits, leaf, n_rows, n_trees, levels, n_nodes, features,
            ACTIVATION=CODES[activation], ROWS=TILE, BLOCK=block_of(features, tuning.AGAIN_BLOCK),
            num_warps=tuning.AGAIN_WARPS,
        )  # fmt: skip


@triton.jit
def above_columns(group, GROUP_LEVEL: tl.constexpr):
    """Return the nodes above a group's (ABOVE,), root first, their levels, and which there are."""
    level = tl.arange(0, ABOVE)
    root = group.to(tl.int64) + (1 << GROUP_LEVEL)
    return (root >> tl.maximum(GROUP_LEVEL - level, 0)) - 1, level, level < GROUP_LEVEL


@triton.jit
def subtree_columns(group, LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr):
    """Return a group's nodes (BELOW,) in heap order, their levels, and which there are."""
    local = tl.arange(0, BELOW)
    below = level_of(local, SUBTREE_LEVELS)
    root = group.to(tl.int64) + ((1 << GROUP_LEVEL) - 1)
    exists = local < (1 << (LEVELS - GROUP_LEVEL)) - 1
    return (root << below) + local, GROUP_LEVEL + below, exists


@triton.jit
def visits(leaf, mask_row, node, level, mask_node, LEVELS: tl.constexpr):
    """Return which rows, by their leaves, visit which nodes, (rows, nodes)."""
    passed = ((leaf[:, None] + (1 << LEVELS)) >> tl.maximum(LEVELS - level, 0)[None, :]) - 1
    return (passed == node[None, :]) & mask_node[None, :] & mask_row[:, None]


@triton.jit
def path_columns(group, LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr):
    """Return all nodes that a group's inputs can visit, (COLUMNS,): those above, then those below.

    As `above_columns` and `subtree_columns`, side by side in one matrix product.
    """
    column = tl.arange(0, COLUMNS)
    is_above = column < ABOVE
    local = tl.maximum(column - ABOVE, 0)
    below = level_of(local, SUBTREE_LEVELS)
    root = group.to(tl.int64) + (1 << GROUP_LEVEL)  # from 1
    above = (root >> tl.maximum(GROUP_LEVEL - column, 0)) - 1
    node = tl.where(is_above, above, ((root - 1) << below) + local)
    level = tl.where(is_above, column, GROUP_LEVEL + below)
    in_subtree = local < (1 << (LEVELS - GROUP_LEVEL)) - 1
    return node, level, tl.where(is_above, column < GROUP_LEVEL, in_subtree)


@triton.jit
def _path_sum(
    out_ptr, c_ptr, w_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr, n_groups, features,
    LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, ADD: tl.constexpr,
    TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write or add Σ_j c_j w_j over the paths to out (b, f), contiguous; a program a tile.

    c (tiles, TILE, COLUMNS) and w (n, f), contiguous, of one dtype; order to tile_first: the arrays
    of `Groups`, of e = n_groups groups.
    """
    tile = tl.program_id(0)
    if tile >= tl.load(tile_offsets_ptr + n_groups):
        return
    c_row = tile.to(tl.int64) * TILE + tl.arange(0, TILE)
    c = tl.load(c_ptr + c_row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :])
    group, row, mask_row = tile_rows(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, TILE
    )
    node, _, mask_node = path_columns(group, LEVELS, GROUP_LEVEL)
    offs_f = tl.arange(0, BLOCK)
    for first in range(0, features, BLOCK):
        mask_f = (first + offs_f < features)[None, :]
        w = tl.load(
            w_ptr + node[:, None] * features + (first + offs_f)[None, :],
            mask=mask_node[:, None] & mask_f, other=0,
        )  # fmt: skip
        out = tl.dot(c, w, input_precision=PRECISION)
        offs_out = row[:, None] * features + (first + offs_f)[None, :]
        mask_out = mask_row[:, None] & mask_f
        if ADD:
            out += tl.load(out_ptr + offs_out, mask=mask_out, other=0)
        tl.store(out_ptr + offs_out, out.to(out_ptr.dtype.element_ty), mask=mask_out)


@triton.jit
def _path_outer(
    d_w_ptr, parts_ptr, kept_ptr, c_ptr, value_ptr, order_ptr, offsets_ptr, tile_offsets_ptr,
    n_groups, features, value_stride,
    LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, CHUNK: tl.constexpr, TILE: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write Σ c_j value over a piece of a group's rows; a program a piece and BLOCK columns.

    c (tiles, TILE, COLUMNS), contiguous; value (b, f) with row stride value_stride; order, offsets
    and tile_offsets as in `Groups`. Written, all contiguous: parts (pieces, GROUP_LEVEL, f),
    float32, of the nodes above the group; of those in its subtree d_w (n, f) if the piece is all of
    the group, else kept (n_kept, BELOW, f), float32.
    """
    piece = tl.program_id(0)
    offs_f = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask_f = (offs_f < features)[None, :]
    group, begin, end, kept = piece_rows(offsets_ptr, n_groups, piece, CHUNK)
    start = tl.load(offsets_ptr + group)
    # the coefficients of a group's tiles follow one another, row by row
    c_ptr += tl.load(tile_offsets_ptr + group).to(tl.int64) * (TILE * COLUMNS)
    d_w = tl.zeros((COLUMNS, BLOCK), tl.float32)
    for first in range(begin, end, ROWS):
        offs_sorted = first + tl.arange(0, ROWS)
        mask_row = offs_sorted < end
        row = tl.load(order_ptr + offs_sorted, mask=mask_row, other=0).to(tl.int64)
        within = (offs_sorted - start).to(tl.int64)
        c = tl.load(
            c_ptr + within[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :],
            mask=mask_row[:, None], other=0,
        )  # fmt: skip
        value = tl.load(
            value_ptr + row[:, None] * value_stride + offs_f[None, :],
            mask=mask_row[:, None] & mask_f, other=0,
        )  # fmt: skip
        d_w = tl.dot(tl.trans(c), value, d_w, input_precision=PRECISION)
    node, level, mask_node = path_columns(group, LEVELS, GROUP_LEVEL)
    column = tl.arange(0, COLUMNS)
    is_above = column < ABOVE
    part = piece.to(tl.int64) * GROUP_LEVEL + level
    tl.store(
        parts_ptr + part[:, None] * features + offs_f[None, :], d_w,
        mask=(mask_node & is_above)[:, None] & mask_f,
    )  # fmt: skip
    mask_below = (mask_node & (is_above == 0))[:, None] & mask_f
    if kept < 0:
        tl.store(
            d_w_ptr + node[:, None] * features + offs_f[None, :], d_w.to(d_w_ptr.dtype.element_ty),
            mask=mask_below,
        )  # fmt: skip
    else:
        local = kept.to(tl.int64) * BELOW + column - ABOVE
        tl.store(
            kept_ptr + local[:, None] * features + offs_f[None, :], d_w, mask=mask_below
        )  # fmt: skip


@triton.jit
def _add_parts(
    d_w_ptr, parts_ptr, offsets_ptr, features,
    GROUP_LEVEL: tl.constexpr, CHUNK: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write to d_w (n, f) the sums of parts (pieces, GROUP_LEVEL, f), float32, both contiguous.

    A program takes a node above the groups and BLOCK columns, PARTS pieces at once. offsets as in
    `Groups`.
    """
    node = tl.program_id(0)
    level = level_of(node, GROUP_LEVEL)
    n_below = 1 << (GROUP_LEVEL - level)  # groups below the node
    first_group = (node + 1 - (1 << level)) * n_below
    stop_group = first_group + n_below
    first_piece = tl.load(offsets_ptr + first_group) // CHUNK + first_group
    stop_piece = tl.load(offsets_ptr + stop_group) // CHUNK + stop_group
    offs_f = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask_f = offs_f < features
    total = tl.zeros((PARTS, BLOCK), tl.float32)
    for start in range(first_piece, stop_piece, PARTS):
        piece = start + tl.arange(0, PARTS)
        offs_part = (piece.to(tl.int64) * GROUP_LEVEL + level)[:, None] * features
        mask_part = (piece < stop_piece)[:, None] & mask_f[None, :]
        total += tl.load(parts_ptr + offs_part + offs_f[None, :], mask=mask_part, other=0)
    d_w = tl.sum(total, axis=0)
    offs_out = node.to(tl.int64) * features + offs_f
    tl.store(d_w_ptr + offs_out, d_w.to(d_w_ptr.dtype.element_ty), mask=mask_f)


@triton.jit
def _add_subtrees(
    d_w_ptr, kept_ptr, offsets_ptr, n_groups, features,
    LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, CHUNK: tl.constexpr, PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write to d_w (n, f) the sums of the subtrees that were kept, (n_kept, BELOW, f), float32.

    A program takes a chunk and BLOCK numbers of a subtree's. All contiguous; offsets as in
    `Groups`.
    """
    chunk = tl.program_id(1)
    group, last = group_from(offsets_ptr, n_groups, chunk, CHUNK)
    if last == chunk:
        return
    offs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    local = offs // features
    mask = local < (1 << (LEVELS - GROUP_LEVEL)) - 1
    d_w = add_kept(kept_ptr, chunk, last, BELOW * features, offs, mask, PARTS, BLOCK)
    root = group.to(tl.int64) + ((1 << GROUP_LEVEL) - 1)
    node = (root << level_of(tl.minimum(local, BELOW - 1), SUBTREE_LEVELS)) + local
    offs_out = node * features + offs % features
    tl.store(d_w_ptr + offs_out, d_w.to(d_w_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _rows_again(
    v_ptr, out_ptr, sum_ptr, logit_ptr, leaf_ptr, n_rows, n_trees, levels, n_nodes, out_features,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the outputs of rows whose sum is NaN again, from the weights of visited nodes alone.

    A program takes ROWS rows. All contiguous: v (t, n, o), out (b, o), sum (b,) float32,
    logit (t, b, levels) float32, leaf (t, b) int64.
    """
    first_row = tl.program_id(0).to(tl.int64) * ROWS
    offs_row = first_row + tl.arange(0, ROWS)
    total = tl.sum(tl.load(sum_ptr + offs_row, mask=offs_row < n_rows, other=0))
    if total == total:
        return
    for row in range(first_row, tl.minimum(first_row + ROWS, n_rows)):
        for first in range(0, out_features, BLOCK):
            offs_o = first + tl.arange(0, BLOCK)
            mask_o = offs_o < out_features
            out = tl.zeros((BLOCK,), tl.float32)
            root = tl.zeros((), tl.int64)  # of the tree, among the nodes of all
            at = root + row  # in all trees' rows
            for _ in range(n_trees):
                node = tl.load(leaf_ptr + at) + n_nodes
                for level in range(levels):
                    node = (node - 1) // 2
                    z = tl.load(logit_ptr + (at + 1) * levels - 1 - level)
                    v_row_ptr = v_ptr + (root + node) * out_features
                    v = tl.load(v_row_ptr + offs_o, mask=mask_o, other=0)
                    out += activate(z, ACTIVATION) * v.to(tl.float32)
                root += n_nodes
                at += n_rows
            out = out.to(out_ptr.dtype.element_ty)
            tl.store(out_ptr + row * out_features + offs_o, out, mask=mask_o)
