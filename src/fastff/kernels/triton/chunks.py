"""Sums over the rows of groups of any sizes: no program takes more than a chunk of rows.

The rows, sorted by group, are cut where a group ends and at every multiple of a chunk's length. A
program sums what lies between two cuts, a piece. A group has one in every chunk from that in which
it starts to that in which it ends (the last may be empty), so that there are n_rows // chunk +
n_groups pieces, whatever the sizes of the groups: nothing waits for the device to tell them.

A group of one piece is done with it. The pieces of others are kept in float32 and added up by a
second kernel, in turn and without atomics. At most two of a chunk are kept: that of the group which
began before it, and that of the group which begins in it and goes on. So they take `n_kept` times
the memory of one group's sums; `tuning.chunk_rows` bounds it.
"""

from __future__ import annotations

import triton
import triton.language as tl


def n_pieces(n_rows: int, n_groups: int, chunk: int) -> int:
    """Return the number of pieces."""
    return n_rows // chunk + n_groups


def n_chunks(n_rows: int, chunk: int) -> int:
    """Return the number of chunks that a group can begin in and go on from."""
    return n_rows // chunk


def n_kept(n_rows: int, chunk: int) -> int:
    """Return the number of pieces that there is to be memory for."""
    return 2 * (n_rows // chunk + 1) if n_rows >= chunk else 0


@triton.jit
def last_group(offsets_ptr, n_groups, at, STEP: tl.constexpr, CHUNK: tl.constexpr):
    """Return the last group g with offsets[g] // CHUNK + STEP g <= at."""
    low = at * 0
    high = low + n_groups
    while high - low > 1:
        middle = (low + high) // 2
        is_before = tl.load(offsets_ptr + middle) // CHUNK + STEP * middle <= at
        low = tl.where(is_before, middle, low)
        high = tl.where(is_before, high, middle)
    return low


@triton.jit
def piece_rows(offsets_ptr, n_groups, piece, CHUNK: tl.constexpr):
    """Return a piece's group, where it begins and ends among the sorted rows, and where it is kept.

    It is kept at -1, nowhere, if it is all of its group. offsets as in `Groups`.
    """
    group = last_group(offsets_ptr, n_groups, piece, 1, CHUNK)
    chunk = piece - group
    start = tl.load(offsets_ptr + group)
    stop = tl.load(offsets_ptr + group + 1)
    begin = tl.maximum(start, chunk * CHUNK)
    end = tl.minimum(stop, (chunk + 1) * CHUNK)
    kept = 2 * chunk + (chunk == start // CHUNK).to(tl.int32)
    return group, begin, end, tl.where(start // CHUNK == stop // CHUNK, -1, kept)


@triton.jit
def group_from(offsets_ptr, n_groups, chunk, CHUNK: tl.constexpr):
    """Return the group that begins in a chunk and goes on, and the chunk where it ends.

    That is `chunk` itself if there is no such group.
    """
    group = last_group(offsets_ptr, n_groups, chunk, 0, CHUNK)
    begins = tl.load(offsets_ptr + group) // CHUNK == chunk
    last = tl.load(offsets_ptr + group + 1) // CHUNK
    return group, tl.where(begins, last, chunk)


@triton.jit
def add_kept(kept_ptr, chunk, last, size, offs, mask, PARTS: tl.constexpr, BLOCK: tl.constexpr):
    """Return the sums (BLOCK,) of a group's kept pieces, from where it begins to its last chunk.

    kept (n_kept, size) float32, contiguous; offs and mask (BLOCK,): which of the numbers.
    """
    total = tl.zeros((PARTS, BLOCK), tl.float32)
    for first in range(chunk, last + 1, PARTS):
        at = first + tl.arange(0, PARTS)
        piece = 2 * at + (at == chunk).to(tl.int32)
        total += tl.load(
            kept_ptr + piece[:, None].to(tl.int64) * size + offs[None, :],
            mask=(at <= last)[:, None] & mask[None, :], other=0,
        )  # fmt: skip
    return tl.sum(total, axis=0)
