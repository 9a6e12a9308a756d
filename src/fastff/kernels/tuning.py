"""Numbers that were chosen by measurement: where one form takes over from another, sizes of blocks.

They decide how fast a result comes, not what it is, but for the order of its sums. They were chosen
on one core of an AMD EPYC and on one NVIDIA H100; what is known of a measurement stands beside its
number. Another processor or card may want others: the timed forms of the benchmarks tell.
"""

from __future__ import annotations

# Layers, on any device

MIN_EXPERTS_PER_CHOICE = 4  # with fewer, one dense product of all experts is about as fast

# CPU: measured in float32 on one core of an AMD EPYC

SORTED_ROWS = 1024  # from which on a tree's rows are sorted on their way down, ...
SORTED_LEVELS = 8  # ... if it has so many levels: a smaller tree stays in the cache as it is
WORK_PER_THREAD = 4_000_000  # multiplications: about 0.4 ms, several times the cost of a thread

# CUDA: measured on an NVIDIA H100. Thresholds between forms

# In float32 a walk row by row is as fast or faster at every depth and batch. In half precision the
# input is read in half the time, but a walk's steps take more than half as long as before. So large
# batches take all nodes at once as a matrix product, where the tree is one block of levels; sorting
# the inputs for a second block costs more than walking on.
ROUTE_BLOCKS_ROWS = 8192  # fewer don't fill the device in tiles
FIRST_LEVELS = 8  # most levels of a descent's first block
BLOCK_LEVELS = 4  # of every later one: 15 nodes, the narrowest matrix product

TREE_TILES_ROWS = 4096  # fewer rows of a node tree walk one by one: they don't fill the device
TREE_TILES_ROWS_PER_GROUP = 16

# Shallow trees, whose nodes all get many rows, take all nodes at once, as dense products, and deep
# ones the visited nodes. On an H200, 16,384 rows, 384 -> 384, bfloat16, µs of a forward pass and of
# forward and backward, the visited nodes alone (before their sums were split into chunks) against
# the layer's plain form, which computes all nodes in more passes over memory:
#   128 trees of 5 levels 4,895 and 91,370 against 2,547 and 3,552
#   32 trees of 4 levels 513 and 45,672 against 386 and 578
#   8 trees of 8 levels 300 and 1,464 against 1,107 and 1,658; of 10 387 and 1,078 against 3,759 and
#   5,618
#   1 tree of 8 levels 26 and 162 against 349 and 567; of 12 33 and 112 against 2,657 and 5,105
# The dense products were not timed when these bounds were set, but counted: they read and write
# memory of rows x nodes a few times, and have 2 rows nodes features operations each.
DENSE_LEVELS = {2: 8, 4: 7}  # at most, by the bytes of a number
DENSE_TREES = 4  # at least, where the other form is by tiles: it takes one tree after the other
DENSE_STEPS = 64  # of a program that walks row by row, at least, where that is the other form
ROW_PROGRAMS = 4096  # of one warp, which walk row by row at once


def takes_all_nodes(levels: int, n_trees: int, n_rows: int, bytes_each: int) -> bool:
    """Return whether a node tree's forward pass takes all nodes at once, not only the visited."""
    if levels > DENSE_LEVELS[bytes_each]:
        return False
    if n_rows >= TREE_TILES_ROWS:
        return n_trees >= DENSE_TREES
    return row_trees(n_rows, n_trees) * levels >= DENSE_STEPS


def row_trees(n_rows: int, n_trees: int) -> int:
    """Return how many trees a program walks for one row: all, or fewer if there are few rows."""
    n_parts = min(n_trees, max(1, ROW_PROGRAMS // max(1, n_rows)))
    return -(-n_trees // n_parts)


GROUPED_CHOICES = 1024  # fewer choices of experts are gathered one by one
GROUPED_CHOICES_PER_EXPERT = 2

FEW_GROUPS = 1024  # of which every program adds up the sizes itself, instead of one before all

# CUDA: launches. A BLOCK is the most columns that a program takes at once.


def row_warps(block: int) -> int:
    """Return warps for a program that holds one row of up to `block` values.

    A row of up to 1024 is held by a single warp, which needs no barrier to add up a logit.
    """
    return max(1, block // 1024)


# A walk by rows. In half precision the number of features is a constant of the compiled kernel:
# without bounds to check, a warp takes 58-64 registers, not 96-104, and more of them are under way.
# In float32 that gains nothing.
# The last levels take as long as their weights take from the L2 cache; those of the first six
# levels or so stay in the L1 caches, as long as the inputs, read once, are the first to leave.
ROW_BLOCK = 4096
ROW_OUT_BLOCK = 1024

# a walk by blocks of levels
WIDE_ROWS = 128 * 128  # so many fill the device in tiles of 128 rows, ...
WIDE_NODES = 256  # ... for so many nodes
WIDE_TILE, WIDE_WARPS = 128, 8
BLOCKS_WARPS, BLOCKS_STAGES = 4, 4
SHARED_BYTES = 96 * 1024  # for all stages; every GPU since Ampere has them
COLUMNS_BLOCK = 128


def descent_tile(n_rows: int, n_groups: int) -> int:
    """Return rows per tile of a walk by blocks: few enough that most tiles are full."""
    return 64 if n_rows >= 256 * n_groups else 32


def descent_columns(bytes_each: int) -> int:
    """Return the columns of a power of two, of which the stages fit into shared memory."""
    return min(
        COLUMNS_BLOCK, 1 << ((SHARED_BYTES // (bytes_each * BLOCKS_STAGES)).bit_length() - 1)
    )


# rows in groups
SORT_ROWS = 256  # of one program of the counting sort
RANK_ROWS = 128  # of a block: a program compares each of its rows with all others
BEFORE_BLOCKS, BEFORE_GROUPS = 64, 16  # whose counts a program adds up at once
OFFSETS_BLOCK = 4096

# the chosen experts, gathered
GATHERED_UNITS, GATHERED_IN_BLOCK = 8, 1024
GATHERED_OUT_UNITS, GATHERED_OUT_BLOCK = 64, 128
GATHERED_WARPS = 4

# the chosen experts, in groups
GROUPED_TILE = 64
GROUPED_IN_BLOCK = {2: 128, 4: 64}  # by the bytes of a number
GROUPED_OUT_BLOCK = 128
OUTER_ROWS, OUTER_BLOCKS = 32, (64, 128)
GROUPED_LAUNCH = {"num_warps": 4, "num_stages": 3}

# Gradients that sum over the rows of a group, in chunks: as many programs as fill the device when
# all rows are in one group, of no fewer rows each than a group has in most balanced batches.
CHUNK_ROWS = 256
CHUNK_PROGRAMS = 512
KEPT_PARTS, KEPT_BLOCK, KEPT_WARPS = 16, 256, 4  # parts of a sum that are added at once


def chunk_rows(n_rows: int, n_blocks: int) -> int:
    """Return the rows of a chunk, a power of two, where each takes `n_blocks` programs.

    So the parts of sums of all chunks have at most 2 (CHUNK_PROGRAMS + n_blocks) blocks.
    """
    least = -(-n_rows * n_blocks // CHUNK_PROGRAMS)
    return max(CHUNK_ROWS, 1 << max(0, least - 1).bit_length())


# the node tree, by tiles
SUBTREE = 4  # levels below a group's node, whose 15 nodes are one narrow matrix product
TREE_TILE = 32
# in float32 the parts of three products take registers: with 128 or fewer, all tiles of 16,384 rows
# are under way at once
TREE_BLOCK = {2: 128, 4: 32}
TREE_LAUNCH = {2: {"num_warps": 2, "num_stages": 3}, 4: {"num_warps": 2, "num_stages": 4}}
AGAIN_BLOCK, AGAIN_WARPS = 1024, 1

# all nodes of several trees at once
DENSE_NUMBERS = 2**26  # hidden units of a part of the trees: 128 MiB in half precision
DENSE_TILE, DENSE_STAGES = 64, 3
DENSE_COLUMNS, DENSE_FEW_COLUMNS = 128, 32  # that a tile takes at once; of few rows, fewer
DENSE_WALKS_NUMBERS, DENSE_WALKS_WARPS = 4096, 4


def dense_trees(n_rows: int, n_trees: int, levels: int) -> int:
    """Return how many trees a tile of rows walks at once: a power of two, of 16 columns or more."""
    columns = DENSE_COLUMNS if n_rows >= TREE_TILES_ROWS else DENSE_FEW_COLUMNS
    most = 1 << (n_trees - 1).bit_length()
    return max(16 >> levels, min(most, columns >> levels), 1)


def dense_warps(n_numbers: int) -> int:
    """Return warps for a tile of so many logits."""
    return 4 if n_numbers <= 64 * 64 else 8


# its backward pass
COEFFICIENTS_BLOCK = {2: 128, 4: 64}
COEFFICIENTS_LAUNCH = {"num_warps": 2, "num_stages": 3}
PATH_BLOCK = 128
PATH_SUM_LAUNCH = {"num_warps": 4, "num_stages": 3}
PATH_OUTER_ROWS = 32  # that a group's gradient sums at once
PATH_OUTER_LAUNCH = {"num_warps": 4, "num_stages": 2}
PARTS, PARTS_BLOCK, PARTS_WARPS = 64, 64, 4  # parts of a node's gradient that are added at once
