"""The node-only tree's forward pass: row by row for few rows, outputs by tiles for many.

All paths are exact: where torch may round float32 products to TF32
(`torch.backends.cuda.matmul.allow_tf32`), only the outputs' product is rounded so. On an H100 that
takes 17% off a tile's time; the logits' product would take off another 3%.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.activations import CODES
from fastff.kernels.cuda.descent_blocks import (
    FIRST_LEVELS,
    block_logits,
    descend_blocks,
    tile_place,
    walk,
)
from fastff.kernels.cuda.descent_rows import descend_rows, row_logit, row_warps
from fastff.kernels.cuda.numerics import PRECISION, activate, block_of, rows_contiguous
from fastff.kernels.cuda.paths import (
    BELOW,
    MAX_LEVELS,
    TILE,
    above_columns,
    levels_above,
    subtree_columns,
    visits,
)
from fastff.kernels.reference import levels_of

MIN_ROWS = 4096  # fewer walk row by row: they don't fill the device in tiles
MIN_ROWS_PER_GROUP = 16


def node_tree_with_path(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, b_in: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum a(z_j) v_j over parallel trees and the nodes j on each tree's path, z_j = <w_j, x> + b_j.

    Args:
        x: inputs (b, i), with any strides.
        w_in: the nodes' w_j, (t, n, i), contiguous, in the dtype of `x`.
        w_out: the nodes' v_j, (t, n, o), likewise.
        activation: a, a key of ACTIVATIONS.
        b_in: the nodes' b_j, (t, n), contiguous; None is 0.

    Returns:
        Outputs (b, o), the logits of the visited nodes (t, b, l), float32, the leaves reached
        (t, b), int64.

    """
    levels = levels_of(w_in.shape[1])
    if levels <= MAX_LEVELS:
        n_groups = 2 ** levels_above(levels)
        if len(x) >= max(MIN_ROWS, MIN_ROWS_PER_GROUP * n_groups):
            return node_tree_tiles(x, w_in, w_out, activation, b_in)
    return node_tree_rows(x, w_in, w_out, activation, b_in)


def node_tree_rows(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, b_in: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as `node_tree_with_path`: one program walks all trees for one input."""
    x = rows_contiguous(x)
    (n_rows, in_features), (n_trees, n_nodes, out_features) = x.shape, w_out.shape
    levels = levels_of(n_nodes)
    out = x.new_empty(n_rows, out_features)
    logits = x.new_empty(n_trees, n_rows, levels, dtype=torch.float32)
    leaf = torch.empty(n_trees, n_rows, dtype=torch.long, device=x.device)
    if n_rows > 0:
        block_in, block_out = block_of(in_features, 4096), block_of(out_features, 1024)
        _node_tree_row[(n_rows, triton.cdiv(out_features, block_out))](
            x, w_in, b_in, w_out, out, logits, leaf,
            n_rows, n_trees, n_nodes, levels, in_features, out_features, x.stride(0),
            ACTIVATION=CODES[activation], BLOCK_IN=block_in, BLOCK_OUT=block_out,
            num_warps=row_warps(block_in),
        )  # fmt: skip
    return out, logits, leaf


def node_tree_tiles(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, b_in: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as `node_tree_with_path`, one tree after the other, the last levels by tiles.

    The inputs walk down to the root of a subtree of few levels. Sorted by it, a tile of inputs
    takes the logits of all the subtree's nodes as one matrix product, and its outputs,
    from the nodes above and below, as two more.

    There an input's activation is 0 at a node that it doesn't visit, and 0 times an infinite or NaN
    weight is NaN. So rows with NaN in their outputs are summed again, over the visited nodes.
    """
    x = rows_contiguous(x)
    (n_rows, in_features), (n_trees, n_nodes, out_features) = x.shape, w_out.shape
    levels = levels_of(n_nodes)
    above = levels_above(levels)
    is_half = x.element_size() == 2
    # in float32 the parts of three products take registers: with 128 or fewer, all tiles of
    # 16,384 rows are under way at once
    block, stages = (128, 3) if is_half else (32, 4)
    rounded = torch.get_float32_matmul_precision() != "highest"
    out = x.new_empty(
        n_rows, out_features, dtype=torch.float32 if n_trees > 1 and is_half else x.dtype
    )
    logits = x.new_empty(n_trees, n_rows, levels, dtype=torch.float32)
    leaf = x.new_empty(n_trees, n_rows, dtype=torch.long)
    sums = x.new_empty(n_rows, dtype=torch.float32)
    for tree in range(n_trees):
        bias = None if b_in is None else b_in[tree]
        groups = None
        if above > 0:
            descend = descend_blocks if is_half and above <= FIRST_LEVELS else descend_rows
            groups = descend(x, w_in[tree], bias, above, logits=logits[tree], tile=TILE).groups
        _tree_tile[(triton.cdiv(n_rows, TILE) if groups is None else groups.max_tiles,)](
            x, w_in[tree], bias, w_out[tree], out, sums, logits[tree], leaf[tree],
            *(groups[:5] if groups is not None else [None] * 5),
            n_rows, in_features, out_features, x.stride(0), 2**above,
            LEVELS=levels, GROUP_LEVEL=above, ACTIVATION=CODES[activation], ADD=tree > 0,
            OUT_PRECISION="tf32" if rounded else PRECISION.value, TILE=TILE,
            BLOCK_IN=block_of(in_features, block), BLOCK_OUT=block_of(out_features, block),
            num_warps=2, num_stages=stages,
        )  # fmt: skip
    _rows_again[(triton.cdiv(n_rows, TILE),)](
        w_out, out, sums, logits, leaf, n_rows, n_trees, levels, n_nodes, out_features,
        ACTIVATION=CODES[activation], ROWS=TILE, BLOCK=block_of(out_features, 1024), num_warps=1,
    )  # fmt: skip
    return out.to(x.dtype), logits, leaf


@triton.jit
def _node_tree_row(
    x_ptr, w_ptr, b_ptr, v_ptr, out_ptr, logit_ptr, leaf_ptr,
    n_rows, n_trees, n_nodes, levels, in_features, out_features, x_stride,
    ACTIVATION: tl.constexpr, BLOCK_IN: tl.constexpr, BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    is_first = tl.program_id(1) == 0  # programs of one row differ in their columns of the output
    x_ptr += row * x_stride
    column = tl.arange(0, BLOCK_IN)
    x = tl.load(x_ptr + column, mask=column < in_features, other=0).to(tl.float32)
    to = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    there = to < out_features
    out = tl.zeros((BLOCK_OUT,), tl.float32)
    root = tl.zeros((), tl.int64)  # of the tree, among the nodes of all
    at = row  # in all trees' rows
    for _ in range(n_trees):
        node = tl.zeros((), tl.int64)
        for level in range(levels):
            v = tl.load(v_ptr + (root + node) * out_features + to, mask=there, other=0)
            w_row_ptr = w_ptr + (root + node) * in_features
            z = row_logit(x_ptr, w_row_ptr, x, in_features, BLOCK_IN)
            if b_ptr is not None:
                z += tl.load(b_ptr + root + node).to(tl.float32)
            out += activate(z, ACTIVATION) * v.to(tl.float32)
            tl.store(logit_ptr + at * levels + level, z, mask=is_first)
            node = 2 * node + 1 + (z > 0).to(tl.int64)
        leaf = node - n_nodes
        tl.store(leaf_ptr + at, leaf, mask=is_first)
        root += n_nodes
        at += n_rows
    tl.store(out_ptr + row * out_features + to, out.to(out_ptr.dtype.element_ty), mask=there)


@triton.jit
def _tree_tile(
    x_ptr, w_ptr, b_ptr, v_ptr, out_ptr, sum_ptr, logit_ptr, leaf_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_rows, in_features, out_features, x_stride, n_groups,
    LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, ACTIVATION: tl.constexpr, ADD: tl.constexpr,
    OUT_PRECISION: tl.constexpr, TILE: tl.constexpr, BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    if order_ptr is not None:
        if tile >= tl.load(tile_offsets_ptr + n_groups):
            return
    group, row, inside = tile_place(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, n_rows, TILE
    )
    node, level, exists = subtree_columns(group, LEVELS, GROUP_LEVEL)
    z = block_logits(
        x_ptr, w_ptr, b_ptr, row, inside, node, exists, in_features, x_stride, TILE, BELOW, BLOCK_IN
    )
    end = walk(z, logit_ptr + GROUP_LEVEL, row, inside, LEVELS, LEVELS - GROUP_LEVEL, TILE, BELOW)
    leaf = (group << (LEVELS - GROUP_LEVEL)) + end.to(tl.int64)
    tl.store(leaf_ptr + row, leaf, mask=inside)
    visited = visits(leaf, inside, node, level, exists, LEVELS)
    hidden = tl.where(visited, activate(z, ACTIVATION), 0.0).to(v_ptr.dtype.element_ty)

    node_above, level_above, exists_above = above_columns(group, GROUP_LEVEL)
    all_above = inside[:, None] & exists_above[None, :]
    z_above = tl.load(
        logit_ptr + row[:, None] * LEVELS + level_above[None, :], mask=all_above, other=0
    )
    hidden_above = tl.where(all_above, activate(z_above, ACTIVATION), 0.0).to(hidden.dtype)

    sums = tl.zeros((TILE,), tl.float32)
    for first in range(0, out_features, BLOCK_OUT):
        column = first + tl.arange(0, BLOCK_OUT)
        there = column < out_features
        v = tl.load(
            v_ptr + node[:, None] * out_features + column[None, :],
            mask=exists[:, None] & there[None, :], other=0,
        )  # fmt: skip
        out = tl.dot(hidden, v, input_precision=OUT_PRECISION)
        if GROUP_LEVEL > 0:
            v = tl.load(
                v_ptr + node_above[:, None] * out_features + column[None, :],
                mask=exists_above[:, None] & there[None, :], other=0,
            )  # fmt: skip
            out = tl.dot(hidden_above, v, out, input_precision=OUT_PRECISION)
        place = row[:, None] * out_features + column[None, :]
        written = inside[:, None] & there[None, :]
        if ADD:
            out += tl.load(out_ptr + place, mask=written, other=0)
        sums += tl.sum(out, axis=1)
        tl.store(out_ptr + place, out.to(out_ptr.dtype.element_ty), mask=written)
    tl.store(sum_ptr + row, sums, mask=inside)


@triton.jit
def _rows_again(
    v_ptr, out_ptr, sum_ptr, logit_ptr, leaf_ptr, n_rows, n_trees, levels, n_nodes, out_features,
    ACTIVATION: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the outputs of rows whose sum is NaN again, from the weights of visited nodes alone."""
    first_row = tl.program_id(0).to(tl.int64) * ROWS
    place = first_row + tl.arange(0, ROWS)
    total = tl.sum(tl.load(sum_ptr + place, mask=place < n_rows, other=0))
    if total == total:
        return
    for row in range(first_row, tl.minimum(first_row + ROWS, n_rows)):
        for first in range(0, out_features, BLOCK):
            column = first + tl.arange(0, BLOCK)
            there = column < out_features
            out = tl.zeros((BLOCK,), tl.float32)
            root = tl.zeros((), tl.int64)  # of the tree, among the nodes of all
            at = root + row  # in all trees' rows
            for _ in range(n_trees):
                node = tl.load(leaf_ptr + at) + n_nodes
                for level in range(levels):
                    node = (node - 1) // 2
                    z = tl.load(logit_ptr + (at + 1) * levels - 1 - level)
                    v_row_ptr = v_ptr + (root + node) * out_features
                    v = tl.load(v_row_ptr + column, mask=there, other=0)
                    out += activate(z, ACTIVATION) * v.to(tl.float32)
                root += n_nodes
                at += n_rows
            out = out.to(out_ptr.dtype.element_ty)
            tl.store(out_ptr + row * out_features + column, out, mask=there)
