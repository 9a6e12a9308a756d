"""Rows in groups: a counting sort, and the tiles of rows that share a group.

Every kernel that reuses weights takes a tile: up to `tile` rows of one group. Their number is
only known on the device, so launches cover the most that there can be and the rest return at
once: nothing waits for the device, and a CUDA graph can hold it.

The order of rows within a group is that of the atomic counters, not the same in every launch. An
output doesn't depend on it; a weight's gradient, which sums over a group, does in its last bits.
With `torch.use_deterministic_algorithms(True)` a stable sort gives the order instead.

A group that there isn't is a device-side assertion, as an index out of range is in torch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels.cuda.numerics import block_of

ROWS = 256  # of one program
ASSERTING = {"debug": True, "sanitize_overflow": False}  # options to compile assertions, no more
FEW_GROUPS = 1024  # of which every program adds up the sizes itself, instead of one before all


class Groups(NamedTuple):
    """Rows sorted by group, e groups.

    Attributes:
        order: the rows, group by group, (b,), int32.
        offsets: where each group starts in `order`, and its end, (e + 1,), int32.
        tile_offsets: the first tile of each group, and the number of tiles, (e + 1,), int32.
        tile_group: the group of a tile, int32.
        tile_first: where a tile starts in `order`, int32.
        tile: rows of a full tile.

    """

    order: Tensor
    offsets: Tensor
    tile_offsets: Tensor
    tile_group: Tensor
    tile_first: Tensor
    tile: int

    @property
    def n_groups(self) -> int:
        """Number of groups, empty ones included."""
        return len(self.offsets) - 1

    @property
    def max_tiles(self) -> int:
        """The most tiles that there can be."""
        return len(self.tile_group)


def group_rows(group: Tensor, n_groups: int, tile: int) -> Groups:
    """Return the rows sorted by `group` (b,), integers in 0..n_groups-1, in tiles of `tile`."""
    counts = torch.zeros(n_groups, dtype=torch.int32, device=group.device)
    rank = torch.empty_like(group, dtype=torch.int32)
    grid = (triton.cdiv(len(group), ROWS),)
    if len(group) > 0:
        _count[grid](group, counts, rank, len(group), n_groups, ROWS=ROWS, **ASSERTING)
    return group_ranked(group, counts, rank, tile)


def group_ranked(group: Tensor, counts: Tensor, rank: Tensor, tile: int) -> Groups:
    """Return the rows sorted by `group` (b,), of which the sizes are known.

    Args:
        group: integers in 0..e-1, (b,).
        counts: rows of every group, (e,), int32.
        rank: place of every row in its group, (b,), int32.
        tile: rows of a full tile.

    """
    n_rows, n_groups = len(group), len(counts)
    max_tiles = triton.cdiv(n_rows, tile) + min(n_groups, n_rows)
    empty = counts.new_empty
    offsets, tile_offsets = empty(n_groups + 1), empty(n_groups + 1)
    groups = Groups(empty(n_rows), offsets, tile_offsets, empty(max_tiles), empty(max_tiles), tile)
    deterministic = torch.are_deterministic_algorithms_enabled()
    few = 0 < n_groups <= FEW_GROUPS and n_rows > 0 and not deterministic
    if not few:
        _offsets[(1,)](
            counts, offsets, tile_offsets, n_groups, TILE=tile, BLOCK=block_of(n_groups, 4096)
        )
    if n_rows == 0:
        return groups
    if deterministic:
        order = torch.sort(group, stable=True).indices
        place = torch.arange(n_rows, dtype=torch.int32, device=group.device)
        rank = rank.scatter(0, order, place - offsets[group[order].long()])
    _scatter[(triton.cdiv(n_rows, ROWS),)](
        group, rank, counts, offsets, tile_offsets, groups.order, groups.tile_group,
        groups.tile_first, n_rows, n_groups, TILE=tile, ROWS=ROWS,
        BLOCK=block_of(n_groups, FEW_GROUPS) if few else 0,
    )  # fmt: skip
    return groups


@triton.jit
def tile_rows(order_ptr, offsets_ptr, group_ptr, first_ptr, tile, TILE: tl.constexpr):
    """Return the group of a tile, its rows (TILE,), int64, and which of them there are."""
    group = tl.load(group_ptr + tile)
    place = tl.load(first_ptr + tile) + tl.arange(0, TILE)
    inside = place < tl.load(offsets_ptr + group + 1)
    return group, tl.load(order_ptr + place, mask=inside, other=0).to(tl.int64), inside


@triton.jit
def _count(group_ptr, counts_ptr, rank_ptr, n_rows, n_groups, ROWS: tl.constexpr):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < n_rows
    group = tl.load(group_ptr + row, mask=inside, other=0)
    refused = inside & ((group < 0) | (group >= n_groups))
    assert tl.sum(refused.to(tl.int32)) == 0, "expert: an index is out of range"
    rank = tl.atomic_add(counts_ptr + group, 1, mask=inside, sem="relaxed")
    tl.store(rank_ptr + row, rank, mask=inside)


@triton.jit
def _offsets(
    counts_ptr, offsets_ptr, tile_offsets_ptr, n_groups, TILE: tl.constexpr, BLOCK: tl.constexpr
):
    n_rows = 0
    n_tiles = 0
    for start in range(0, n_groups, BLOCK):
        group = start + tl.arange(0, BLOCK)
        inside = group < n_groups
        rows = tl.load(counts_ptr + group, mask=inside, other=0)
        tiles = (rows + TILE - 1) // TILE
        tl.store(offsets_ptr + group, n_rows + tl.cumsum(rows) - rows, mask=inside)
        tl.store(tile_offsets_ptr + group, n_tiles + tl.cumsum(tiles) - tiles, mask=inside)
        n_rows += tl.sum(rows)
        n_tiles += tl.sum(tiles)
    tl.store(offsets_ptr + n_groups, n_rows)
    tl.store(tile_offsets_ptr + n_groups, n_tiles)


@triton.jit
def _scatter(
    group_ptr, rank_ptr, counts_ptr, offsets_ptr, tile_offsets_ptr,
    order_ptr, tile_group_ptr, tile_first_ptr, n_rows, n_groups,
    TILE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the order and the tiles; with a BLOCK that holds all groups, the offsets too."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < n_rows
    group = tl.load(group_ptr + row, mask=inside, other=0).to(tl.int32)
    rank = tl.load(rank_ptr + row, mask=inside, other=0)
    begins = inside & (rank % TILE == 0)
    if BLOCK > 0:
        one = tl.arange(0, BLOCK)
        there = one < n_groups
        rows = tl.load(counts_ptr + one, mask=there, other=0)
        tiles = (rows + TILE - 1) // TILE
        offsets = tl.cumsum(rows) - rows
        tile_offsets = tl.cumsum(tiles) - tiles
        if tl.program_id(0) == 0:
            tl.store(offsets_ptr + one, offsets, mask=there)
            tl.store(tile_offsets_ptr + one, tile_offsets, mask=there)
            tl.store(offsets_ptr + n_groups, tl.sum(rows))
            tl.store(tile_offsets_ptr + n_groups, tl.sum(tiles))
        place = tl.gather(offsets, group, 0) + rank
        tile = tl.gather(tile_offsets, group, 0) + rank // TILE
    else:
        place = tl.load(offsets_ptr + group, mask=inside, other=0) + rank
        tile = tl.load(tile_offsets_ptr + group, mask=begins, other=0) + rank // TILE
    tl.store(order_ptr + place, row, mask=inside)
    tl.store(tile_group_ptr + tile, group, mask=begins)
    tl.store(tile_first_ptr + tile, place, mask=begins)
