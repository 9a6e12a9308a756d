"""Sums along the inputs' paths in float32 arithmetic, without tensor cores.

Every input visits one node a level, so a sum takes as many multiplications as there are levels,
for each value of the output. A tensor core would take three passes for float32, over all nodes of a
subtree, and all values of the nodes' rows would have to be split in two first: that takes longer.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.cuda.descent_blocks import tile_place
from fastff.kernels.cuda.grouping import Groups
from fastff.kernels.cuda.numerics import block_of
from fastff.kernels.cuda.paths import levels_above

TILE = 32  # rows
BLOCK = 64  # columns at once
WARPS = 4
PARTS = 1  # of the columns, each another program's


def path_output(
    out: Tensor,
    hidden: Tensor,
    weight: Tensor,
    leaf: Tensor,
    groups: Groups | None,
    levels: int,
    *,
    add: bool,
) -> None:
    """Write Σ_l h_l v_l over the nodes on every input's path to `out`, or add it.

    Args:
        out: (b, f), contiguous, b at least 1.
        hidden: h, a value for every level, (b, at least l), float32, contiguous.
        weight: v of the nodes (n, f), contiguous.
        leaf: reached by each input, (b,), int64.
        groups: of the inputs by the node `levels_above(levels)` levels down, in tiles of TILE; None
            for one group.
        levels: of the tree.
        add: add to `out` instead of overwriting it.

    """
    n_rows, features = out.shape
    n_tiles = triton.cdiv(n_rows, TILE) if groups is None else groups.max_tiles
    _path_output[(n_tiles, PARTS)](
        out, hidden, weight, leaf, *(groups[:5] if groups is not None else [None] * 5),
        n_rows, 1 if groups is None else groups.n_groups, hidden.stride(0),
        FEATURES=features, LEVELS=levels, GROUP_LEVEL=levels_above(levels), ADD=add,
        TILE=TILE, BLOCK=block_of(features, BLOCK), num_warps=WARPS,
    )  # fmt: skip


@triton.jit
def _path_output(
    out_ptr, hidden_ptr, v_ptr, leaf_ptr,
    order_ptr, offsets_ptr, tile_offsets_ptr, tile_group_ptr, tile_first_ptr,
    n_rows, n_groups, hidden_stride,
    FEATURES: tl.constexpr, LEVELS: tl.constexpr, GROUP_LEVEL: tl.constexpr, ADD: tl.constexpr,
    TILE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    if order_ptr is not None:
        if tile >= tl.load(tile_offsets_ptr + n_groups):
            return
    group, row, inside = tile_place(
        order_ptr, offsets_ptr, tile_group_ptr, tile_first_ptr, tile, n_rows, TILE
    )
    # nodes above the group's, which all rows of the tile visit, and those below, from 1
    top = group.to(tl.int64) + (1 << GROUP_LEVEL)
    bottom = tl.load(leaf_ptr + row, mask=inside, other=0) + (1 << LEVELS)
    hidden_ptr += row * hidden_stride
    for first in range(tl.program_id(1) * BLOCK, FEATURES, tl.num_programs(1) * BLOCK):
        column = first + tl.arange(0, BLOCK)
        there = column < FEATURES
        written = inside[:, None] & there[None, :]
        place = row[:, None] * FEATURES + column[None, :]
        out = tl.zeros((TILE, BLOCK), tl.float32)
        for level in tl.static_range(LEVELS):
            hidden = tl.load(hidden_ptr + level, mask=inside, other=0)
            if level < GROUP_LEVEL:
                node = (top >> (GROUP_LEVEL - level)) - 1
                v = tl.load(v_ptr + node * FEATURES + column, mask=there, other=0)[None, :]
            else:
                node = (bottom >> (LEVELS - level)) - 1
                v = tl.load(
                    v_ptr + node[:, None] * FEATURES + column[None, :], mask=there[None, :], other=0
                )
            out += hidden[:, None] * v.to(tl.float32)
        if ADD:
            out += tl.load(out_ptr + place, mask=written, other=0)
        tl.store(
            out_ptr + place, out.to(out_ptr.dtype.element_ty), mask=written,
            eviction_policy="evict_first",
        )  # fmt: skip
