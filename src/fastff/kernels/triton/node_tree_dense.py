"""Shallow node-only trees, all trees at once, forward and backward, as dense matrix products.

A tree of few levels has few more nodes than a path; or its many inputs share most nodes. Then the
hidden units of all nodes, 0 where an input doesn't visit them, times all weights are one product
that fills the device, whatever paths the inputs take. A tree has 2**levels columns, the last of
them empty: products of odd widths are several times slower.

The walks are exact, from float32 logits, as everywhere. The products are torch's: in float32 it
may round them to TF32 where `torch.backends.cuda.matmul.allow_tf32` says so. Of many trees or rows
so many trees are taken at once that an array of hidden units has at most `tuning.DENSE_NUMBERS`
numbers, or those of one tree.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import pad

from fastff.kernels import tuning
from fastff.kernels.activations import CODES
from fastff.kernels.reference import TreeArguments, levels_of
from fastff.kernels.triton.descent import block_logits, walk
from fastff.kernels.triton.numerics import (
    activate,
    activation_slope,
    block_of,
    level_of,
    rows_contiguous,
)
from fastff.kernels.triton.paths import rows_again, visits


def node_tree_dense(arguments: TreeArguments) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same as `node_tree_with_path`.

    0 times an infinite or NaN weight is NaN. So rows with NaN in their outputs are summed again,
    over the visited nodes.
    """
    x, w_in, w_out, activation, b_in = arguments
    x = rows_contiguous(x)
    (n_rows, in_features), (n_trees, n_nodes, _) = x.shape, w_out.shape
    levels = levels_of(n_nodes)
    logits = x.new_empty(n_trees, n_rows, levels, dtype=torch.float32)
    leaf = x.new_empty(n_trees, n_rows, dtype=torch.long)
    tile = block_of(n_rows, tuning.DENSE_TILE)
    out = None
    for part in _parts(n_rows, n_trees, levels):
        w, v, b = w_in[part], w_out[part], None if b_in is None else b_in[part]
        hidden = x.new_empty(n_rows, len(w) * 2**levels)
        at_once = tuning.dense_trees(n_rows, len(w), levels)
        columns = at_once * 2**levels
        if n_rows > 0:
            _hidden[(triton.cdiv(n_rows, tile), triton.cdiv(len(w), at_once))](
                x, w, b, hidden, logits[part], leaf[part], n_rows, len(w), in_features,
                x.stride(0), LEVELS=levels, ACTIVATION=CODES[activation], TILE=tile, TREES=at_once,
                WIDTH=2**levels,
                BLOCK=block_of(
                    in_features, tuning.descent_columns((tile + columns) * x.element_size())
                ),
                num_warps=tuning.dense_warps(tile * columns), num_stages=tuning.DENSE_STAGES,
            )  # fmt: skip
        out = _added(out, hidden @ _columns(v))
    assert out is not None
    rows_again(w_out, out, out.sum(1, dtype=torch.float32), logits, leaf, activation)
    return out.to(x.dtype), logits, leaf


def dense_backward(
    grad: Tensor, arguments: TreeArguments, logits: Tensor, leaf: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of x, w_in, w_out and b_in, as `node_tree_backward`.

    An infinite or NaN input, or gradient of an output, makes the weights' gradients NaN at all
    nodes, visited or not, as in a dense layer.
    """
    x, w_in, w_out, activation, b_in = arguments
    n_trees, n_rows, levels = logits.shape
    d_in, d_out = torch.empty_like(w_in), torch.empty_like(w_out)
    d_b = None if b_in is None else torch.empty_like(b_in)
    d_x = None
    for part in _parts(n_rows, n_trees, levels):
        w, v = w_in[part], w_out[part]
        d_z = grad @ _columns(v).mT  # of the hidden units, and then of their logits
        hidden = torch.empty_like(d_z)
        n_walks = n_rows * len(w)
        walks = tuning.DENSE_WALKS_NUMBERS >> levels
        if n_walks > 0:
            _coefficients[(triton.cdiv(n_walks, walks),)](
                d_z, hidden, logits[part], leaf[part], n_rows, len(w),
                LEVELS=levels, ACTIVATION=CODES[activation], WALKS=walks, WIDTH=2**levels,
                num_warps=tuning.DENSE_WALKS_WARPS,
            )  # fmt: skip
        d_x = _added(d_x, d_z @ _columns(w))
        d_in[part] = _of_nodes(d_z.mT @ x, len(w))
        d_out[part] = _of_nodes(hidden.mT @ grad, len(w))
        if d_b is not None:
            d_b[part] = _of_nodes(d_z.sum(0, dtype=torch.float32), len(w))
    assert d_x is not None
    return d_x.to(x.dtype), d_in, d_out, d_b


def _parts(n_rows: int, n_trees: int, levels: int) -> Iterator[slice]:
    """Yield which trees are taken at once, in turn."""
    step = max(1, tuning.DENSE_NUMBERS // (max(1, n_rows) << levels))
    return (slice(first, first + step) for first in range(0, n_trees, step))


def _columns(weight: Tensor) -> Tensor:
    """Return weights of the nodes (t, n, f) as one of products, (t 2**levels, f)."""
    return pad(weight, (0, 0, 0, 1)).flatten(0, 1)


def _of_nodes(columns: Tensor, n_trees: int) -> Tensor:
    """Return a gradient of columns (t 2**levels, ...) as one of the nodes, (t, n, ...)."""
    gradient: Tensor = columns.unflatten(0, (n_trees, -1))[:, :-1]
    return gradient


def _added(total: Tensor | None, product: Tensor) -> Tensor:
    """Return the sum of products, in float32 where there are several."""
    return product if total is None else total.float().add_(product)


@triton.jit
def _hidden(
    x_ptr, w_ptr, b_ptr, hidden_ptr, logit_ptr, leaf_ptr, n_rows, n_trees, in_features, x_stride,
    LEVELS: tl.constexpr, ACTIVATION: tl.constexpr, TILE: tl.constexpr, TREES: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Walk a tile's rows through TREES trees; a program a tile and so many trees.

    x (b, i) with row stride x_stride; w (t, n, i) and b (t, n) or None, contiguous. Written,
    contiguous: hidden (b, t, WIDTH = 2**LEVELS), 0 if not visited; logit (t, b, LEVELS) float32;
    leaf (t, b) int64.
    """
    n_nodes = WIDTH - 1
    first_row = tl.program_id(0).to(tl.int64) * TILE
    first_tree = tl.program_id(1) * TREES
    row = first_row + tl.arange(0, TILE)
    column = tl.arange(0, TREES * WIDTH)
    tree = first_tree + column // WIDTH
    local = column % WIDTH
    z = block_logits(
        x_ptr,
        w_ptr,
        b_ptr,
        row,
        row < n_rows,
        tree.to(tl.int64) * n_nodes + local,
        (tree < n_trees) & (local < n_nodes),
        in_features,
        x_stride,
        TILE,
        TREES * WIDTH,
        BLOCK,
    )
    # a walk is a row in a tree
    z = tl.reshape(z, (TILE * TREES, WIDTH))
    walks = tl.arange(0, TILE * TREES)
    row = first_row + walks // TREES
    tree = first_tree + walks % TREES
    mask = (row < n_rows) & (tree < n_trees)
    at = tree.to(tl.int64) * n_rows + row
    leaf = walk(z, logit_ptr, at, mask, LEVELS, LEVELS, TILE * TREES, WIDTH).to(tl.int64)
    tl.store(leaf_ptr + at, leaf, mask=mask)
    node = tl.arange(0, WIDTH)
    visited = visits(leaf, mask, node, level_of(node, LEVELS), node < n_nodes, LEVELS)
    hidden = tl.where(visited, activate(z, ACTIVATION), 0.0)
    offs = (row * n_trees + tree)[:, None] * WIDTH + node[None, :]
    tl.store(hidden_ptr + offs, hidden.to(hidden_ptr.dtype.element_ty), mask=mask[:, None])


@triton.jit
def _coefficients(
    d_z_ptr, hidden_ptr, logit_ptr, leaf_ptr, n_rows, n_trees,
    LEVELS: tl.constexpr, ACTIVATION: tl.constexpr, WALKS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """Make d_z of the gradients of hidden units, in place, and write these; a program WALKS walks.

    All contiguous: d_z and hidden (b, t, WIDTH = 2**LEVELS), 0 if not visited; logit
    (t, b, LEVELS) float32; leaf (t, b) int64.
    """
    walks = tl.program_id(0).to(tl.int64) * WALKS + tl.arange(0, WALKS)
    row = walks // n_trees
    mask = row < n_rows
    at = walks % n_trees * n_rows + row
    node = tl.arange(0, WIDTH)
    level = level_of(node, LEVELS)
    leaf = tl.load(leaf_ptr + at, mask=mask, other=0)
    visited = visits(leaf, mask, node, level, node < WIDTH - 1, LEVELS)
    z = tl.load(logit_ptr + at[:, None] * LEVELS + level[None, :], mask=visited, other=0)
    offs = walks[:, None] * WIDTH + node[None, :]
    d_hidden = tl.load(d_z_ptr + offs, mask=visited, other=0).to(tl.float32)
    d_z = tl.where(visited, d_hidden * activation_slope(z, ACTIVATION), 0.0)
    hidden = tl.where(visited, activate(z, ACTIVATION), 0.0)
    tl.store(d_z_ptr + offs, d_z.to(d_z_ptr.dtype.element_ty), mask=mask[:, None])
    tl.store(hidden_ptr + offs, hidden.to(hidden_ptr.dtype.element_ty), mask=mask[:, None])
