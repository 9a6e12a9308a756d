"""The node-only tree's forward pass: by the form that its shape and the number of rows ask for.

Row by row for few rows, outputs by tiles for many; shallow trees, if there are several, all nodes
at once, as in `node_tree_dense`.

All paths are exact: where torch may round float32 products to TF32
(`torch.backends.cuda.matmul.allow_tf32`), only the outputs' product is rounded so. On an H100 that
takes 17% off a tile's time; the logits' product would take off another 3%.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels import tuning
from fastff.kernels.activations import CODES
from fastff.kernels.reference import TreeArguments, levels_of
from fastff.kernels.triton.descent import (
    block_logits,
    descend_blocks,
    descend_rows,
    row_logit,
    tile_place,
    walk,
)
from fastff.kernels.triton.node_tree_dense import node_tree_dense
from fastff.kernels.triton.numerics import PRECISION, activate, block_of, rows_contiguous
from fastff.kernels.triton.paths import (
    BELOW,
    MAX_LEVELS,
    TILE,
    above_columns,
    levels_above,
    rows_again,
    subtree_columns,
    visits,
)


def node_tree_with_path(arguments: TreeArguments) -> tuple[Tensor, Tensor, Tensor]:
    """Sum a(z_j) v_j over parallel trees and the nodes j on each tree's path, as in `reference`.

    The inputs may have any strides, the weights are contiguous. Logits are float32.
    """
    x, w_in = arguments.x, arguments.w_in
    levels = levels_of(w_in.shape[1])
    if tuning.takes_all_nodes(levels, len(w_in), len(x), x.element_size()):
        return node_tree_dense(arguments)
    if levels <= MAX_LEVELS:
        n_groups = 2 ** levels_above(levels)
        min_rows = max(tuning.TREE_TILES_ROWS, tuning.TREE_TILES_ROWS_PER_GROUP * n_groups)
        if len(x) >= min_rows:
            return node_tree_tiles(arguments)
    return node_tree_rows(arguments)


def node_tree_rows(arguments: TreeArguments) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as `node_tree_with_path`: a program walks one input down its trees in turn.

    For few inputs these are a part of the trees, and the parts of the outputs are added up.
    """
    x, w_in, w_out, activation, b_in = arguments
    x = rows_contiguous(x)
    (n_rows, in_features), (n_trees, n_nodes, out_features) = x.shape, w_out.shape
    levels = levels_of(n_nodes)
    trees_each = tuning.row_trees(n_rows, n_trees)
    n_parts = triton.cdiv(n_trees, trees_each)
    out = x.new_empty(
        n_parts, n_rows, out_features, dtype=torch.float32 if n_parts > 1 else x.dtype
    )
    logits = x.new_empty(n_trees, n_rows, levels, dtype=torch.float32)
    leaf = torch.empty(n_trees, n_rows, dtype=torch.long, device=x.device)
    if n_rows > 0:
        block_in = block_of(in_features, tuning.ROW_BLOCK)
        block_out = block_of(out_features, tuning.ROW_OUT_BLOCK)
        _node_tree_row[(n_rows, triton.cdiv(out_features, block_out), n_parts)](
            x, w_in, b_in, w_out, out, logits, leaf,
            n_rows, n_trees, trees_each, n_nodes, levels, in_features, out_features, x.stride(0),
            ACTIVATION=CODES[activation], BLOCK_IN=block_in, BLOCK_OUT=block_out,
            num_warps=tuning.row_warps(block_in),
        )  # fmt: skip
    return out[0] if n_parts == 1 else out.sum(0).to(x.dtype), logits, leaf


def node_tree_tiles(arguments: TreeArguments) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as `node_tree_with_path`, one tree after the other, the last levels by tiles.

    The inputs walk down to the root of a subtree of few levels. Sorted by it, a tile of inputs
    takes the logits of all the subtree's nodes as one matrix product, and its outputs,
    from the nodes above and below, as two more.

    There an input's activation is 0 at a node that it doesn't visit, and 0 times an infinite or NaN
    weight is NaN. So rows with NaN in their outputs are summed again, over the visited nodes.
    """
    x, w_in, w_out, activation, b_in = arguments
    x = rows_contiguous(x)
    (n_rows, in_features), (n_trees, n_nodes, out_features) = x.shape, w_out.shape
    levels = levels_of(n_nodes)
    above = levels_above(levels)
    is_half = x.element_size() == 2
    block = tuning.TREE_BLOCK[x.element_size()]
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
            descend = descend_blocks if is_half and above <= tuning.FIRST_LEVELS else descend_rows
            groups = descend(x, w_in[tree], bias, above, logits=logits[tree], tile=TILE).groups
        _tree_tile[(triton.cdiv(n_rows, TILE) if groups is None else groups.max_tiles,)](
            x, w_in[tree], bias, w_out[tree], out, sums, logits[tree], leaf[tree],
            *(groups[:5] if groups is not None else [None] * 5),
            n_rows, in_features, out_features, x.stride(0), 2**above,
            LEVELS=levels, GROUP_LEVEL=above, ACTIVATION=CODES[activation], ADD=tree > 0,
            OUT_PRECISION="tf32" if rounded else PRECISION.value, TILE=TILE,
            BLOCK_IN=block_of(in_features, block), BLOCK_OUT=block_of(out_features, block),
            **tuning.TREE_LAUNCH[x.element_size()],
        )  # fmt: skip
    rows_again(w_out, out, sums, logits, leaf, activation)
    return out.to(x.dtype), logits, leaf


@triton.jit
def _node_tree_row(
    x_ptr, w_ptr, b_ptr, v_ptr, out_ptr, logit_ptr, leaf_ptr,
    n_rows, n_trees, trees_each, n_nodes, levels, in_features, out_features, x_stride,
    ACTIVATION: tl.constexpr, BLOCK_IN: tl.constexpr, BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    """Walk trees_each trees for one row; a program so many, a row and BLOCK_OUT columns of outputs.

    x (b, i) with row stride x_stride; w (t, n, i), b (t, n) or None and v (t, n, o), contiguous.
    Written, contiguous: out (parts, b, o), logit (t, b, levels) float32, leaf (t, b) int64.
    """
    row = tl.program_id(0).to(tl.int64)
    is_first = tl.program_id(1) == 0  # programs of one row differ in their columns of the output
    x_ptr += row * x_stride
    offs_i = tl.arange(0, BLOCK_IN)
    x = tl.load(x_ptr + offs_i, mask=offs_i < in_features, other=0).to(tl.float32)
    offs_o = tl.program_id(1) * BLOCK_OUT + tl.arange(0, BLOCK_OUT)
    mask_o = offs_o < out_features
    out = tl.zeros((BLOCK_OUT,), tl.float32)
    part = tl.program_id(2).to(tl.int64)
    first_tree = part * trees_each
    root = first_tree * n_nodes  # of the tree, among the nodes of all
    at = first_tree * n_rows + row  # in all trees' rows
    for _ in range(first_tree, tl.minimum(first_tree + trees_each, n_trees)):
        node = tl.zeros((), tl.int64)
        for level in range(levels):
            v = tl.load(v_ptr + (root + node) * out_features + offs_o, mask=mask_o, other=0)
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
    out_ptr += part * n_rows * out_features
    tl.store(out_ptr + row * out_features + offs_o, out.to(out_ptr.dtype.element_ty), mask=mask_o)


@triton.jit
def _tree_tile(
    x_ptr, w_ptr, b_ptr, v_ptr, out_ptr, sum_ptr, logit_ptr, leaf_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_rows, in_features, out_features, x_stride, n_groups,
    LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, ACTIVATION: tl.constexpr, ADD: tl.constexpr,
    OUT_PRECISION: tl.constexpr, TILE: tl.constexpr, BLOCK_IN: tl.constexpr,
    BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    """Walk a tile's rows through their subtree, and write or add their outputs; a program a tile.

    x (b, i) with row stride x_stride; w (n, i), b (n,) or None and v (n, o) of one tree,
    contiguous; order to tile_first: the arrays of `Groups` by the node reached at GROUP_LEVEL, or
    None for all rows in turn. logit (b, LEVELS), float32, holds those above GROUP_LEVEL, and gets
    the others. Written, contiguous: out (b, o), its sums (b,) float32, leaf (b,) int64.
    """
    tile = tl.program_id(0)
    if order_ptr is not None:
        if tile >= tl.load(tile_offsets_ptr + n_groups):
            return
    group, row, mask_row = tile_place(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, n_rows, TILE
    )
    node, level, mask_node = subtree_columns(group, LEVELS, GROUP_LEVEL)
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
        BELOW,
        BLOCK_IN,
    )
    end = walk(z, logit_ptr + GROUP_LEVEL, row, mask_row, LEVELS, LEVELS - GROUP_LEVEL, TILE, BELOW)
    leaf = (group << (LEVELS - GROUP_LEVEL)) + end.to(tl.int64)
    tl.store(leaf_ptr + row, leaf, mask=mask_row)
    mask_visited = visits(leaf, mask_row, node, level, mask_node, LEVELS)
    hidden = tl.where(mask_visited, activate(z, ACTIVATION), 0.0).to(v_ptr.dtype.element_ty)

    node_above, level_above, mask_node_above = above_columns(group, GROUP_LEVEL)
    mask_above = mask_row[:, None] & mask_node_above[None, :]
    z_above = tl.load(
        logit_ptr + row[:, None] * LEVELS + level_above[None, :], mask=mask_above, other=0
    )
    hidden_above = tl.where(mask_above, activate(z_above, ACTIVATION), 0.0).to(hidden.dtype)

    sums = tl.zeros((TILE,), tl.float32)
    for first in range(0, out_features, BLOCK_OUT):
        offs_o = first + tl.arange(0, BLOCK_OUT)
        mask_o = offs_o < out_features
        v = tl.load(
            v_ptr + node[:, None] * out_features + offs_o[None, :],
            mask=mask_node[:, None] & mask_o[None, :], other=0,
        )  # fmt: skip
        out = tl.dot(hidden, v, input_precision=OUT_PRECISION)
        if GROUP_LEVEL > 0:
            v = tl.load(
                v_ptr + node_above[:, None] * out_features + offs_o[None, :],
                mask=mask_node_above[:, None] & mask_o[None, :], other=0,
            )  # fmt: skip
            out = tl.dot(hidden_above, v, out, input_precision=OUT_PRECISION)
        offs_out = row[:, None] * out_features + offs_o[None, :]
        mask_out = mask_row[:, None] & mask_o[None, :]
        if ADD:
            out += tl.load(out_ptr + offs_out, mask=mask_out, other=0)
        sums += tl.sum(out, axis=1)
        tl.store(out_ptr + offs_out, out.to(out_ptr.dtype.element_ty), mask=mask_out)
    tl.store(sum_ptr + row, sums, mask=mask_row)
