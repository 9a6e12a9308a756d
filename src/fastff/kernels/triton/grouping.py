"""Rows in groups: a counting sort, and the tiles of rows that share a group.

Every kernel that reuses weights takes a tile: up to `tile` rows of one group. Their number is
only known on the device, so launches cover the most that there can be and the rest return at
once: nothing waits for the device, and a CUDA graph can hold it.

Within a group, rows keep their order, so that a weight's gradient, which sums over a group, is the
same in every run. Rows are counted in blocks for that, in memory of `n_groups` numbers a block. Of
more than `tuning.FEW_GROUPS` groups it would take too much: there the order is that of atomic
counters, not the same in every launch, and with `torch.use_deterministic_algorithms(True)` that of
a stable sort. An output doesn't depend on the order.

A group that there isn't is a device-side assertion, as an index out of range is in torch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastff.kernels import tuning
from fastff.kernels.triton.numerics import block_of

ASSERTING = {"debug": True, "sanitize_overflow": False}  # options to compile assertions, no more


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
    n_rows, device = len(group), group.device
    rank = torch.empty_like(group, dtype=torch.int32)
    if n_groups <= tuning.FEW_GROUPS:
        n_blocks = triton.cdiv(n_rows, tuning.RANK_ROWS)
        before = torch.zeros(n_blocks, n_groups, dtype=torch.int32, device=device)
        counts = before.new_empty(n_groups)
        if n_rows > 0:
            _rank[(n_blocks,)](
                group, rank, before, n_rows, n_groups, ROWS=tuning.RANK_ROWS, **ASSERTING
            )
        _sum_blocks[(triton.cdiv(n_groups, tuning.BEFORE_GROUPS),)](
            before, counts, n_blocks, n_groups, BLOCKS=tuning.BEFORE_BLOCKS,
            GROUPS=tuning.BEFORE_GROUPS,
        )  # fmt: skip
        return group_ranked(group, counts, rank, tile, before)
    counts = torch.zeros(n_groups, dtype=torch.int32, device=device)
    if n_rows > 0:
        grid = (triton.cdiv(n_rows, tuning.SORT_ROWS),)
        _count[grid](group, counts, rank, n_rows, n_groups, ROWS=tuning.SORT_ROWS, **ASSERTING)
    if torch.are_deterministic_algorithms_enabled():
        order = torch.sort(group, stable=True).indices
        place = torch.arange(n_rows, dtype=torch.int32, device=device)
        offsets = (counts.cumsum(0) - counts).int()
        rank = rank.scatter(0, order, place - offsets[group[order]])
    return group_ranked(group, counts, rank, tile)


def group_ranked(
    group: Tensor, counts: Tensor, rank: Tensor, tile: int, before: Tensor | None = None
) -> Groups:
    """Return the rows sorted by `group` (b,), of which the sizes are known.

    Args:
        group: integers in 0..e-1, (b,).
        counts: rows of every group, (e,), int32.
        rank: place of every row in its group, or of those in its block, (b,), int32.
        tile: rows of a full tile.
        before: rows of every group before each block of RANK_ROWS, (blocks, e), int32; None for
            places in the whole group.

    """
    n_rows, n_groups = len(group), len(counts)
    max_tiles = triton.cdiv(n_rows, tile) + min(n_groups, n_rows)
    empty = counts.new_empty
    offsets, tile_offsets = empty(n_groups + 1), empty(n_groups + 1)
    groups = Groups(empty(n_rows), offsets, tile_offsets, empty(max_tiles), empty(max_tiles), tile)
    few = 0 < n_groups <= tuning.FEW_GROUPS and n_rows > 0
    if not few:
        _offsets[(1,)](
            counts, offsets, tile_offsets, n_groups, TILE=tile,
            BLOCK=block_of(n_groups, tuning.OFFSETS_BLOCK),
        )  # fmt: skip
    if n_rows == 0:
        return groups
    _scatter[(triton.cdiv(n_rows, tuning.SORT_ROWS),)](
        group, rank, before, counts, offsets, tile_offsets, groups.order, groups.tile_group,
        groups.tile_first, n_rows, n_groups, TILE=tile, ROWS=tuning.SORT_ROWS,
        RANK_ROWS=tuning.RANK_ROWS, BLOCK=block_of(n_groups, tuning.FEW_GROUPS) if few else 0,
    )  # fmt: skip
    return groups


@triton.jit
def tile_rows(order_ptr, offsets_ptr, group_ptr, first_ptr, tile, TILE: tl.constexpr):
    """Return the group of a tile, its rows (TILE,), int64, and which of them there are.

    The pointers are to arrays of `Groups`: order, offsets, tile_group and tile_first.
    """
    group = tl.load(group_ptr + tile)
    offs_sorted = tl.load(first_ptr + tile) + tl.arange(0, TILE)
    mask_row = offs_sorted < tl.load(offsets_ptr + group + 1)
    return group, tl.load(order_ptr + offs_sorted, mask=mask_row, other=0).to(tl.int64), mask_row


@triton.jit
def _load_group(group_ptr, row, mask_row, n_groups):
    """Return the groups of rows, int64, 0 where there is none; assert that there are the groups."""
    group = tl.load(group_ptr + row, mask=mask_row, other=0)
    refused = mask_row & ((group < 0) | (group >= n_groups))
    assert tl.sum(refused.to(tl.int32)) == 0, "expert: an index is out of range"
    return group


@triton.jit
def _rank(group_ptr, rank_ptr, counts_ptr, n_rows, n_groups, ROWS: tl.constexpr):
    """Write rank (b,) int32, the place of a row among those of its group in its block.

    A program takes a block of ROWS rows, and writes how many are of each group that it has, counts
    (blocks, e) int32, from 0. group (b,) int64.
    """
    place = tl.arange(0, ROWS)
    row = tl.program_id(0) * ROWS + place
    mask_row = row < n_rows
    group = _load_group(group_ptr, row, mask_row, n_groups)
    group = tl.where(mask_row, group, -1).to(tl.int32)
    is_same = group[:, None] == group[None, :]
    is_earlier = is_same & (place[None, :] < place[:, None])
    rank = tl.sum(is_earlier.to(tl.int32), axis=1)
    count = tl.sum(is_same.to(tl.int32), axis=1)
    tl.store(rank_ptr + row, rank, mask=mask_row)
    counts_ptr += tl.program_id(0).to(tl.int64) * n_groups
    tl.store(counts_ptr + group, count, mask=mask_row & (rank == count - 1))


@triton.jit
def _sum_blocks(
    before_ptr, counts_ptr, n_blocks, n_groups, BLOCKS: tl.constexpr, GROUPS: tl.constexpr
):
    """Sum up counts by block (blocks, e) in place to those before each block, and to counts (e,).

    All int32. A program takes GROUPS groups, BLOCKS blocks at once.
    """
    offs_group = tl.program_id(0) * GROUPS + tl.arange(0, GROUPS)
    mask_group = offs_group < n_groups
    total = tl.zeros((GROUPS,), tl.int32)
    for first in range(0, n_blocks, BLOCKS):
        block = first + tl.arange(0, BLOCKS)
        offs = block[:, None].to(tl.int64) * n_groups + offs_group[None, :]
        mask = (block < n_blocks)[:, None] & mask_group[None, :]
        rows = tl.load(before_ptr + offs, mask=mask, other=0)
        tl.store(before_ptr + offs, total[None, :] + tl.cumsum(rows, axis=0) - rows, mask=mask)
        total += tl.sum(rows, axis=0)
    tl.store(counts_ptr + offs_group, total, mask=mask_group)


@triton.jit
def _count(group_ptr, counts_ptr, rank_ptr, n_rows, n_groups, ROWS: tl.constexpr):
    """Add up counts (e,) int32, from 0, and write rank (b,) int32, of group (b,) int64.

    A program takes ROWS rows.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mask_row = row < n_rows
    group = _load_group(group_ptr, row, mask_row, n_groups)
    rank = tl.atomic_add(counts_ptr + group, 1, mask=mask_row, sem="relaxed")
    tl.store(rank_ptr + row, rank, mask=mask_row)


@triton.jit
def _offsets(
    counts_ptr, offsets_ptr, tile_offsets_ptr, n_groups, TILE: tl.constexpr, BLOCK: tl.constexpr
):
    """Write offsets and tile_offsets (e + 1,) for counts (e,), all int32; one program."""
    n_rows = 0
    n_tiles = 0
    for start in range(0, n_groups, BLOCK):
        offs_group = start + tl.arange(0, BLOCK)
        mask_group = offs_group < n_groups
        rows = tl.load(counts_ptr + offs_group, mask=mask_group, other=0)
        tiles = (rows + TILE - 1) // TILE
        tl.store(offsets_ptr + offs_group, n_rows + tl.cumsum(rows) - rows, mask=mask_group)
        tl.store(tile_offsets_ptr + offs_group, n_tiles + tl.cumsum(tiles) - tiles, mask=mask_group)
        n_rows += tl.sum(rows)
        n_tiles += tl.sum(tiles)
    tl.store(offsets_ptr + n_groups, n_rows)
    tl.store(tile_offsets_ptr + n_groups, n_tiles)


@triton.jit
def _scatter(
    group_ptr, rank_ptr, before_ptr, counts_ptr, offsets_ptr, tile_offsets_ptr,
    order_ptr, tile_group_ptr, tile_first_ptr, n_rows, n_groups,
    TILE: tl.constexpr, ROWS: tl.constexpr, RANK_ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write the order and the tiles; with a BLOCK that holds all groups, the offsets too.

    group (b,) int64, rank (b,), before (blocks of RANK_ROWS rows, e) or None, and counts (e,),
    int32; all others as in `Groups`. Without BLOCK, offsets and tile_offsets are read. A program
    takes ROWS rows.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    mask_row = row < n_rows
    group = tl.load(group_ptr + row, mask=mask_row, other=0).to(tl.int32)
    rank = tl.load(rank_ptr + row, mask=mask_row, other=0)
    if before_ptr is not None:
        offs_before = (row // RANK_ROWS).to(tl.int64) * n_groups + group
        rank += tl.load(before_ptr + offs_before, mask=mask_row, other=0)
    begins = mask_row & (rank % TILE == 0)
    if BLOCK > 0:
        offs_group = tl.arange(0, BLOCK)
        mask_group = offs_group < n_groups
        rows = tl.load(counts_ptr + offs_group, mask=mask_group, other=0)
        tiles = (rows + TILE - 1) // TILE
        offsets = tl.cumsum(rows) - rows
        tile_offsets = tl.cumsum(tiles) - tiles
        if tl.program_id(0) == 0:
            tl.store(offsets_ptr + offs_group, offsets, mask=mask_group)
            tl.store(tile_offsets_ptr + offs_group, tile_offsets, mask=mask_group)
            tl.store(offsets_ptr + n_groups, tl.sum(rows))
            tl.store(tile_offsets_ptr + n_groups, tl.sum(tiles))
        place = tl.gather(offsets, group, 0) + rank
        tile = tl.gather(tile_offsets, group, 0) + rank // TILE
    else:
        place = tl.load(offsets_ptr + group, mask=mask_row, other=0) + rank
        tile = tl.load(tile_offsets_ptr + group, mask=begins, other=0) + rank // TILE
    tl.store(order_ptr + place, row, mask=mask_row)
    tl.store(tile_group_ptr + tile, group, mask=begins)
    tl.store(tile_first_ptr + tile, place, mask=begins)
