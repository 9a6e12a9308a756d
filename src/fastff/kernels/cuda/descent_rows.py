"""Descent row by row: a program walks one input down the tree, the input kept on chip.

As many dependent reads as levels, each of one weight row: what counts is how many inputs are
under way at once. So a row of up to 1024 values is held by a single warp, which needs no barrier
to add up a logit, and many such programs share a multiprocessor. In half precision the number of
features is known when the kernel is compiled: without bounds to check, a warp takes fewer registers
(58-64, not 96-104), which an H100 turns into speed; in float32 it does not.

On an H100 the last levels take as long as their weights take from the L2 cache; those of the first
six levels or so stay in the L1 caches, as long as the inputs, read once, are the first to leave.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.cuda.grouping import Groups, group_ranked
from fastff.kernels.cuda.numerics import block_of, rows_contiguous


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
        block = block_of(in_features, 4096)
        _descend_row[(n_rows,)](
            x, weight, bias, reached, logits, counts, rank, levels, 2**levels - 1,
            in_features, x.stride(0), 0 if logits is None else logits.stride(0),
            FEATURES=in_features if x.element_size() == 2 else 0, BLOCK=block,
            WIDTH=triton.next_power_of_2(levels), num_warps=row_warps(block),
        )  # fmt: skip
    if tile is None or counts is None or rank is None:
        return Descent(reached, None)
    return Descent(reached, group_ranked(reached, counts, rank, tile))


def row_warps(block: int) -> int:
    """Return warps for a program that holds one row of up to `block` values."""
    return max(1, block // 1024)


@triton.jit
def row_logit(x_ptr, w_ptr, x, in_features, BLOCK: tl.constexpr):
    """Return <w, x> of one row each, float32; `x` is the row's first BLOCK values."""
    column = tl.arange(0, BLOCK)
    w = tl.load(w_ptr + column, mask=column < in_features, other=0).to(tl.float32)
    products = x * w
    for start in range(BLOCK, in_features, BLOCK):
        inside = start + column < in_features
        w = tl.load(w_ptr + start + column, mask=inside, other=0).to(tl.float32)
        more = tl.load(x_ptr + start + column, mask=inside, other=0).to(tl.float32)
        products += more * w
    return tl.sum(products)


@triton.jit
def _descend_row(
    x_ptr, w_ptr, b_ptr, reached_ptr, logit_ptr, counts_ptr, rank_ptr,
    levels, n_above, in_features, x_stride, logit_stride,
    FEATURES: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    x_ptr += row * x_stride
    column = tl.arange(0, BLOCK)
    if FEATURES > 0:
        in_features = FEATURES
    x = tl.load(
        x_ptr + column, mask=column < in_features, other=0, eviction_policy="evict_first"
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
