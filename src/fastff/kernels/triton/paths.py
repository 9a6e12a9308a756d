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
from fastff.kernels.triton.grouping import Groups, group_rows, tile_rows
from fastff.kernels.triton.numerics import PRECISION, block_of, level_of

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

    A group's program sums over its inputs in order, so that no two write to one place: the nodes
    of its subtree are its own, and for the nodes above it, which groups share, it leaves a part
    that a last pass adds up.

    Args:
        d_w: (n, f), contiguous.
        coefficients: c, by tile, (tiles, TILE, COLUMNS), of the nodes as in `path_columns`.
        values: (b, f), the values of a row side by side.
        groups: of the inputs.
        levels: of the tree.

    """
    features, above = values.shape[-1], levels_above(levels)
    block = block_of(features, tuning.PATH_BLOCK)
    n_blocks = triton.cdiv(features, block)
    parts = d_w.new_empty(groups.n_groups, above, features, dtype=torch.float32)
    _path_outer[(groups.n_groups, n_blocks)](
        d_w, parts, coefficients, values, groups.order, groups.offsets, groups.tile_offsets,
        features, values.stride(0),
        LEVELS=levels, GROUP_LEVEL=above, TILE=TILE, ROWS=tuning.PATH_OUTER_ROWS, BLOCK=block,
        **tuning.PATH_OUTER_LAUNCH,
    )  # fmt: skip
    if above > 0:
        block = block_of(features, tuning.PARTS_BLOCK)
        _add_parts[(2**above - 1, triton.cdiv(features, block))](
            d_w, parts, features, GROUP_LEVEL=above, PARTS=tuning.PARTS, BLOCK=block,
            num_warps=tuning.PARTS_WARPS,
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
    d_w_ptr, parts_ptr, c_ptr, value_ptr, order_ptr, offsets_ptr, tile_offsets_ptr,
    features, value_stride,
    LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, TILE: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write Σ c_j value over a group's rows for its nodes; a program a group and BLOCK columns.

    c (tiles, TILE, COLUMNS), contiguous; value (b, f) with row stride value_stride; order, offsets
    and tile_offsets as in `Groups`. Written: d_w (n, f) of the nodes in the group's subtree, and
    parts (e, GROUP_LEVEL, f), float32, for those above; both contiguous.
    """
    group = tl.program_id(0)
    offs_f = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask_f = (offs_f < features)[None, :]
    begin = tl.load(offsets_ptr + group)
    end = tl.load(offsets_ptr + group + 1)
    # the coefficients of a group's tiles follow one another, row by row
    c_ptr += tl.load(tile_offsets_ptr + group).to(tl.int64) * (TILE * COLUMNS)
    d_w = tl.zeros((COLUMNS, BLOCK), tl.float32)
    for first in range(0, end - begin, ROWS):
        within = first + tl.arange(0, ROWS)
        mask_row = (within < end - begin)[:, None]
        row = tl.load(order_ptr + begin + within, mask=within < end - begin, other=0).to(tl.int64)
        c = tl.load(
            c_ptr + within[:, None].to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)[None, :],
            mask=mask_row, other=0,
        )  # fmt: skip
        value = tl.load(
            value_ptr + row[:, None] * value_stride + offs_f[None, :],
            mask=mask_row & mask_f, other=0,
        )  # fmt: skip
        d_w = tl.dot(tl.trans(c), value, d_w, input_precision=PRECISION)
    node, level, mask_node = path_columns(group, LEVELS, GROUP_LEVEL)
    is_above = tl.arange(0, COLUMNS) < ABOVE
    part = group.to(tl.int64) * GROUP_LEVEL + level
    tl.store(
        parts_ptr + part[:, None] * features + offs_f[None, :], d_w,
        mask=(mask_node & is_above)[:, None] & mask_f,
    )  # fmt: skip
    tl.store(
        d_w_ptr + node[:, None] * features + offs_f[None, :], d_w.to(d_w_ptr.dtype.element_ty),
        mask=(mask_node & (is_above == 0))[:, None] & mask_f,
    )  # fmt: skip


@triton.jit
def _add_parts(
    d_w_ptr, parts_ptr, features,
    GROUP_LEVEL: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write to d_w (n, f) the sums of parts (e, GROUP_LEVEL, f), float32, both contiguous.

    A program takes a node above the groups and BLOCK columns, PARTS groups at once.
    """
    node = tl.program_id(0)
    level = level_of(node, GROUP_LEVEL)
    n_parts = 1 << (GROUP_LEVEL - level)  # groups below the node
    first_group = (node + 1 - (1 << level)) * n_parts
    offs_f = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask_f = offs_f < features
    total = tl.zeros((PARTS, BLOCK), tl.float32)
    for start in range(0, n_parts, PARTS):
        offs_part = start + tl.arange(0, PARTS)
        offs_group = ((first_group + offs_part).to(tl.int64) * GROUP_LEVEL + level)[
            :, None
        ] * features
        mask_part = (offs_part < n_parts)[:, None] & mask_f[None, :]
        total += tl.load(parts_ptr + offs_group + offs_f[None, :], mask=mask_part, other=0)
    d_w = tl.sum(total, axis=0)
    offs_out = node.to(tl.int64) * features + offs_f
    tl.store(d_w_ptr + offs_out, d_w.to(d_w_ptr.dtype.element_ty), mask=mask_f)
