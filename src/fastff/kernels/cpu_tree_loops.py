"""The compiled loops of the node-only tree: row by row, or with the rows in an order that fits.

Rows that pass the same nodes one after the other find their weights in the nearest cache. So many
rows first walk the upper levels, then, sorted by the node reached, the lower ones, and, sorted by
leaf, add up their outputs. As in `cpu_loops`, all takes raw addresses, and 0 is none.
"""

from __future__ import annotations

import numpy as np
from numba import carray  # type: ignore[attr-defined]

from fastff.kernels.cpu_loops import (
    ZERO,
    activate,
    add_rows,
    compiled,
    dot,
    floats,
    integers,
    row_of,
)


@compiled
def node_tree(
    begin: int, end: int, x: int, stride: int, w_in: int, w_out: int, out: int,
    logits: int, leaf: int, n_rows: int, n_trees: int, levels: int, in_features: int,
    out_features: int, code: int,
) -> None:  # fmt: skip
    """Write the outputs of rows begin..end-1, and unless 0 their `logits` and leaves."""
    n_nodes = (1 << levels) - 1
    w_ = carray(floats(w_in), (n_trees * n_nodes, in_features))
    v_ = carray(floats(w_out), (n_trees * n_nodes, out_features))
    out_ = carray(floats(out), (end, out_features))
    logits_ = carray(floats(logits), (n_trees, n_rows, levels))
    leaf_ = carray(integers(leaf), (n_trees, n_rows))
    visited = np.empty(levels, np.int64)
    hidden = np.empty(levels, np.float32)
    for row in range(begin, end):
        values = row_of(x, row, stride, in_features)
        total = out_[row]
        total[:] = ZERO
        for tree in range(n_trees):
            node = 0
            for level in range(levels):
                visited[level] = tree * n_nodes + node
                z = dot(values, w_[visited[level]])
                hidden[level] = activate(z, code)
                if logits != 0:
                    logits_[tree, row, level] = z
                node = 2 * node + (2 if z > ZERO else 1)
            add_rows(total, hidden, v_, visited)
            if leaf != 0:
                leaf_[tree, row] = node - n_nodes


@compiled
def descend(
    begin: int, end: int, x: int, stride: int, order: int, w_in: int, node: int, logits: int,
    first: int, last: int, levels: int, in_features: int,
) -> None:  # fmt: skip
    """Walk rows order[begin..end-1] of one tree from level `first` down to level `last`.

    `node` holds where each row is and is moved on: in heap order, a leaf's being past the nodes.
    """
    n_nodes = (1 << levels) - 1
    order_ = carray(integers(order), end)
    node_, logits_ = integers(node), floats(logits)
    w_ = carray(floats(w_in), (n_nodes, in_features))
    for at in range(begin, end):
        row = order_[at]
        values = row_of(x, row, stride, in_features)
        here = node_[row]
        for level in range(first, last):
            z = dot(values, w_[here])
            logits_[row * levels + level] = z
            here = 2 * here + (2 if z > ZERO else 1)
        node_[row] = here


@compiled
def sum_paths(
    begin: int, end: int, order: int, node: int, logits: int, w_out: int, out: int, leaf: int,
    add: int, levels: int, out_features: int, code: int,
) -> None:  # fmt: skip
    """Write, or with `add` add, the outputs of rows order[begin..end-1], and unless 0 their leaves.

    `node` holds the leaf that each row has reached, as `descend` leaves it.
    """
    n_nodes = (1 << levels) - 1
    order_ = carray(integers(order), end)
    node_, logits_, leaf_ = integers(node), floats(logits), integers(leaf)
    v_ = carray(floats(w_out), (n_nodes, out_features))
    visited = np.empty(levels, np.int64)
    hidden = np.empty(levels, np.float32)
    for at in range(begin, end):
        row = order_[at]
        total = row_of(out, row, out_features, out_features)
        if add == 0:
            total[:] = ZERO
        here = node_[row]
        if leaf != 0:
            leaf_[row] = here - n_nodes
        for level in range(levels - 1, -1, -1):
            here = (here - 1) // 2
            visited[level] = here
            hidden[level] = activate(logits_[row * levels + level], code)
        add_rows(total, hidden, v_, visited)
