"""The node-only tree's backward pass, on inputs sorted by the subtree that they visit.

Shallow trees take all nodes at once instead, as in `node_tree_dense`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels import tuning
from fastff.kernels.activations import CODES
from fastff.kernels.reference import TreeArguments
from fastff.kernels.triton.grouping import Groups, tile_rows
from fastff.kernels.triton.node_tree_dense import dense_backward
from fastff.kernels.triton.numerics import (
    PRECISION,
    activate,
    activation_slope,
    block_of,
    rows_contiguous,
)
from fastff.kernels.triton.paths import (
    COLUMNS,
    TILE,
    levels_above,
    path_columns,
    path_groups,
    path_outer,
    path_sum,
    visits,
)


def node_tree_backward(
    grad: Tensor, arguments: TreeArguments, logits: Tensor, leaf: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of x, w_in, w_out and b_in, as in `reference`.

    Raises ValueError for a tree of more than MAX_LEVELS levels.

    Args:
        grad: gradient of the outputs (b, o), with any strides, as the inputs.
        arguments: weights contiguous.
        logits: of the visited nodes, (t, b, l), float32.
        leaf: reached in each tree, (t, b).

    """
    if logits.shape[-1] <= tuning.DENSE_LEVELS[arguments.x.element_size()]:
        return dense_backward(grad, arguments, logits, leaf)
    return paths_backward(grad, arguments, logits, leaf)


def paths_backward(
    grad: Tensor, arguments: TreeArguments, logits: Tensor, leaf: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the same as `node_tree_backward`, one tree after the other."""
    x, w_in, w_out, activation, b_in = arguments
    grad, x = rows_contiguous(grad), rows_contiguous(x)
    n_trees, levels = len(w_in), logits.shape[-1]
    sums_up = n_trees > 1 and x.dtype != torch.float32
    d_x = torch.empty(x.shape, dtype=torch.float32 if sums_up else x.dtype, device=x.device)
    d_in, d_out = torch.empty_like(w_in), torch.empty_like(w_out)
    d_b = None if b_in is None else torch.empty_like(b_in)
    ones = x.new_ones(1, 1).expand(len(x), 1)
    for tree in range(n_trees):
        groups = path_groups(leaf[tree], levels)
        d_z, hidden = _coefficients(grad, w_out[tree], logits[tree], leaf[tree], groups, activation)
        path_sum(d_x, d_z, w_in[tree], groups, levels, add=tree > 0)
        path_outer(d_in[tree], d_z, x, groups, levels)
        path_outer(d_out[tree], hidden, grad, groups, levels)
        if d_b is not None:
            path_outer(d_b[tree].unsqueeze(-1), d_z, ones, groups, levels)
    return d_x.to(x.dtype), d_in, d_out, d_b


def _coefficients(
    grad: Tensor, weight: Tensor, logits: Tensor, leaf: Tensor, groups: Groups, activation: str
) -> tuple[Tensor, Tensor]:
    """Return a'(z_j) <v_j, grad> and a(z_j), by tile as `path_sum` takes them, 0 if not visited.

    Args:
        grad: (b, o).
        weight: v, (n, o).
        logits: z of the visited nodes, (b, l), float32.
        leaf: reached by each input, (b,).
        groups: of the inputs.
        activation: a, a key of ACTIVATIONS.

    """
    levels, out_features = logits.shape[-1], grad.shape[-1]
    d_z = grad.new_empty(groups.max_tiles, TILE, COLUMNS.value)
    hidden = torch.empty_like(d_z)
    if groups.max_tiles > 0:
        _tile_coefficients[(groups.max_tiles,)](
            d_z, hidden, grad, weight, logits, leaf, *groups[:5], groups.n_groups, out_features,
            grad.stride(0), LEVELS=levels, GROUP_LEVEL=levels_above(levels),
            ACTIVATION=CODES[activation], TILE=TILE,
            BLOCK=block_of(out_features, tuning.COEFFICIENTS_BLOCK[grad.element_size()]),
            **tuning.COEFFICIENTS_LAUNCH,
        )  # fmt: skip
    return d_z, hidden


@triton.jit
def _tile_coefficients(
    d_z_ptr, hidden_ptr, grad_ptr, v_ptr, logit_ptr, leaf_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_groups, out_features, grad_stride,
    LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, ACTIVATION: tl.constexpr,
    TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write d_z and hidden (tiles, TILE, COLUMNS), in the dtype of grad; a program a tile.

    grad (b, o) with row stride grad_stride; v (n, o), logit (b, LEVELS) float32 and leaf (b,)
    int64, contiguous; order to tile_first: the arrays of `Groups`.
    """
    tile = tl.program_id(0)
    if tile >= tl.load(tile_offsets_ptr + n_groups):
        return
    group, row, mask_row = tile_rows(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, TILE
    )
    node, level, mask_node = path_columns(group, LEVELS, GROUP_LEVEL)
    offs_o = tl.arange(0, BLOCK)
    d_hidden = tl.zeros((TILE, COLUMNS), tl.float32)
    for first in range(0, out_features, BLOCK):
        mask_o = (first + offs_o < out_features)[None, :]
        grad = tl.load(
            grad_ptr + row[:, None] * grad_stride + (first + offs_o)[None, :],
            mask=mask_row[:, None] & mask_o, other=0,
        )  # fmt: skip
        v = tl.load(
            v_ptr + node[:, None] * out_features + (first + offs_o)[None, :],
            mask=mask_node[:, None] & mask_o, other=0,
        )  # fmt: skip
        d_hidden = tl.dot(grad, tl.trans(v), d_hidden, input_precision=PRECISION)
    leaf = tl.load(leaf_ptr + row, mask=mask_row, other=0)
    mask_visited = visits(leaf, mask_row, node, level, mask_node, LEVELS)
    offs_z = row[:, None] * LEVELS + level[None, :]
    z = tl.load(logit_ptr + offs_z, mask=mask_visited, other=0)
    hidden = tl.where(mask_visited, activate(z, ACTIVATION), 0.0)
    d_z = tl.where(mask_visited, d_hidden * activation_slope(z, ACTIVATION), 0.0)
    c_row = tile.to(tl.int64) * TILE + tl.arange(0, TILE)
    offs_c = c_row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(hidden_ptr + offs_c, hidden.to(hidden_ptr.dtype.element_ty))
    tl.store(d_z_ptr + offs_c, d_z.to(d_z_ptr.dtype.element_ty))
