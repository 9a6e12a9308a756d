"""The node-only tree's backward pass, on inputs sorted by the subtree that they visit."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.activations import CODES
from fastff.kernels.cuda.grouping import Groups, tile_rows
from fastff.kernels.cuda.numerics import (
    PRECISION,
    activate,
    activation_slope,
    block_of,
    rows_contiguous,
)
from fastff.kernels.cuda.paths import (
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
    grad: Tensor,
    x: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    logits: Tensor,
    leaf: Tensor,
    activation: str,
    *,
    bias: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of x, w_in, w_out and, for `bias`, b_in; the path is a constant.

    Raises ValueError for a tree of more than MAX_LEVELS levels.

    Args:
        grad: gradient of the outputs (b, o).
        x: inputs (b, i).
        w_in: (t, n, i), contiguous.
        w_out: (t, n, o), contiguous.
        logits: of the visited nodes, (t, b, l), float32.
        leaf: reached in each tree, (t, b).
        activation: a key of ACTIVATIONS.
        bias: whether there is a b_in, (t, n).

    """
    grad, x = rows_contiguous(grad), rows_contiguous(x)
    n_trees, levels = len(w_in), logits.shape[-1]
    sums_up = n_trees > 1 and x.dtype != torch.float32
    d_x = torch.empty(x.shape, dtype=torch.float32 if sums_up else x.dtype, device=x.device)
    d_in, d_out = torch.empty_like(w_in), torch.empty_like(w_out)
    d_b = w_in.new_empty(w_in.shape[:2]) if bias else None
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
            BLOCK=block_of(out_features, 128 if grad.element_size() == 2 else 64),
            num_warps=2, num_stages=3,
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
    tile = tl.program_id(0)
    if tile >= tl.load(tile_offsets_ptr + n_groups):
        return
    group, row, inside = tile_rows(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, TILE
    )
    node, level, exists = path_columns(group, LEVELS, GROUP_LEVEL)
    column = tl.arange(0, BLOCK)
    d_hidden = tl.zeros((TILE, COLUMNS), tl.float32)
    for first in range(0, out_features, BLOCK):
        there = (first + column < out_features)[None, :]
        grad = tl.load(
            grad_ptr + row[:, None] * grad_stride + (first + column)[None, :],
            mask=inside[:, None] & there, other=0,
        )  # fmt: skip
        v = tl.load(
            v_ptr + node[:, None] * out_features + (first + column)[None, :],
            mask=exists[:, None] & there, other=0,
        )  # fmt: skip
        d_hidden = tl.dot(grad, tl.trans(v), d_hidden, input_precision=PRECISION)
    leaf = tl.load(leaf_ptr + row, mask=inside, other=0)
    visited = visits(leaf, inside, node, level, exists, LEVELS)
    z = tl.load(logit_ptr + row[:, None] * LEVELS + level[None, :], mask=visited, other=0)
    hidden = tl.where(visited, activate(z, ACTIVATION), 0.0)
    d_z = tl.where(visited, d_hidden * activation_slope(z, ACTIVATION), 0.0)
    c_row = tile.to(tl.int64) * TILE + tl.arange(0, TILE)
    place = c_row[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    tl.store(hidden_ptr + place, hidden.to(hidden_ptr.dtype.element_ty))
    tl.store(d_z_ptr + place, d_z.to(d_z_ptr.dtype.element_ty))
