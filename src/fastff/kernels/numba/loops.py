"""The compiled loops of the CPU kernels: one row after the other, float32, over raw addresses.

Numba compiles them on the first call and keeps the result beside this file (or, where that can't
be written, in the user's cache, if that can be) until the file changes. It doesn't see changes
elsewhere: so all loops are in one file. They take addresses, not arrays, since turning a tensor
into an array takes as long as a batch of one. They hold no lock of Python's, so threads share the
rows.

A row's walk is a chain of dot products and vector additions that run at the speed of the cache:
the compiler may reorder a sum to fill vector registers, but nothing else of the arithmetic. So NaN
and infinity stay what they are, and a NaN logit, which is not above 0, goes left.

Rows that pass the same nodes of a tree one after the other find their weights in the nearest cache.
So many rows first walk the upper levels (`descend`), then, sorted by the node reached, the lower
ones, and, sorted by leaf, add up their outputs (`sum_paths`).
"""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
from numba import carray, njit, types  # type: ignore[attr-defined]
from numba.extending import intrinsic

from fastff.kernels.activations import CODES, SELU_ALPHA, SELU_SCALE

RELU, GELU, SELU = CODES["relu"], CODES["gelu"], CODES["selu"]
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
ALPHA, SCALE = np.float32(SELU_ALPHA), np.float32(SELU_SCALE)
ROOT_HALF = np.float32(math.sqrt(0.5))
DENSITY = np.float32(1 / math.sqrt(2 * math.pi))  # of a normal number at 0

log = logging.getLogger("fastff")


def _has_cache() -> bool:
    """Return whether there is a folder where numba can keep what it compiles."""
    try:
        njit(cache=True)(_has_cache)  # looks for one; compiles nothing yet
    except RuntimeError as error:
        log.info("kernels are compiled anew in every process: %s", error)
        return False
    return True


compiled = njit(
    nogil=True, cache=_has_cache(), fastmath={"reassoc", "contract", "nsz"}, error_model="numpy"
)


def _pointer_to(element: Any) -> Any:
    """Return a function for compiled code: an address as a pointer to `element`s."""

    @intrinsic
    def pointer(_: Any, address: Any) -> Any:
        def cast(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(types.intp), cast  # type: ignore[no-untyped-call]

    return pointer


floats = _pointer_to(types.float32)
integers = _pointer_to(types.int64)


@compiled
def row_of(x: int, row: int, stride: int, features: int) -> Any:
    """Return one row of the floats at `x`, found by its own address: rows may share memory."""
    return carray(floats(x + 4 * row * stride), features)


@compiled
def dot(x: Any, w: Any) -> Any:
    """Return <x, w>."""
    total = ZERO
    for i in range(len(x)):
        total += x[i] * w[i]
    return total


@compiled
def add_scaled(out: Any, factor: Any, v: Any) -> None:
    """Add `factor` times `v` to `out`."""
    for i in range(len(out)):
        out[i] += factor * v[i]


@compiled
def add_rows(out: Any, factors: Any, v: Any, rows: Any) -> None:
    """Add Σ_k factors[k] v[rows[k]] to `out`, four rows in one pass over it."""
    last = len(rows) - len(rows) % 4
    for k in range(0, last, 4):
        v0, v1, v2, v3 = v[rows[k]], v[rows[k + 1]], v[rows[k + 2]], v[rows[k + 3]]
        f0, f1, f2, f3 = factors[k], factors[k + 1], factors[k + 2], factors[k + 3]
        for i in range(len(out)):
            out[i] += f0 * v0[i] + f1 * v1[i] + f2 * v2[i] + f3 * v3[i]
    for k in range(last, len(rows)):
        add_scaled(out, factors[k], v[rows[k]])


@compiled
def activate(z: Any, code: int) -> Any:
    """Return the activation function of one number."""
    if code == RELU:
        return ZERO if z <= ZERO else z
    if code == GELU:
        return HALF * z * (ONE + np.float32(math.erf(z * ROOT_HALF)))
    if code == SELU:
        return SCALE * (z if z > ZERO else ALPHA * np.float32(math.expm1(z)))
    return z


@compiled
def slope(z: Any, code: int) -> Any:
    """Return the derivative of the activation function at one number."""
    if code == RELU:
        return ZERO if z <= ZERO else ONE
    if code == GELU:
        below = HALF * (ONE + np.float32(math.erf(z * ROOT_HALF)))
        return below + z * DENSITY * np.float32(math.exp(-HALF * z * z))
    if code == SELU:
        return SCALE * (ONE if z > ZERO else ALPHA * np.float32(math.exp(z)))
    return ONE


@compiled
def route(
    begin: int, end: int, x: int, stride: int, weight: int, bias: int, leaf: int,
    levels: int, in_features: int,
) -> None:  # fmt: skip
    """Write the leaves of rows begin..end-1; `bias` 0 is none."""
    n_nodes = (1 << levels) - 1
    w_ = carray(floats(weight), (n_nodes, in_features))
    b_ = carray(floats(bias), n_nodes)
    leaf_ = carray(integers(leaf), end)
    for row in range(begin, end):
        values = row_of(x, row, stride, in_features)
        node = 0
        for _ in range(levels):
            z = dot(values, w_[node])
            if bias != 0:
                z += b_[node]
            node = 2 * node + (2 if z > ZERO else 1)
        leaf_[row] = node - n_nodes


@compiled
def chosen_experts(
    begin: int, end: int, x: int, stride: int, expert: int, scale: int, w_in: int, b_in: int,
    w_out: int, b_out: int, out: int, hidden: int, top_k: int, n_experts: int,
    hidden_features: int, in_features: int, out_features: int, code: int,
) -> bool:  # fmt: skip
    """Write the outputs of rows begin..end-1; `scale`, a bias or `hidden` 0 is none.

    Returns whether it stopped at an index of an expert that there isn't.
    """
    expert_ = carray(integers(expert), (end, top_k))
    scale_ = carray(floats(scale), (end, top_k))
    w_in_ = carray(floats(w_in), (n_experts, hidden_features, in_features))
    b_in_ = carray(floats(b_in), (n_experts, hidden_features))
    w_out_ = carray(floats(w_out), (n_experts, hidden_features, out_features))
    b_out_ = carray(floats(b_out), (n_experts, out_features))
    out_ = carray(floats(out), (end, out_features))
    hidden_ = carray(floats(hidden), (end, top_k, hidden_features))
    units = np.arange(hidden_features)
    weighted = np.empty(hidden_features, np.float32)
    for row in range(begin, end):
        values = row_of(x, row, stride, in_features)
        total = out_[row]
        total[:] = ZERO
        for k in range(top_k):
            e = expert_[row, k]
            if e < 0 or e >= n_experts:
                return True
            factor = scale_[row, k] if scale != 0 else ONE
            for unit in range(hidden_features):
                z = dot(values, w_in_[e, unit])
                if b_in != 0:
                    z += b_in_[e, unit]
                if hidden != 0:
                    hidden_[row, k, unit] = z
                weighted[unit] = factor * activate(z, code)
            add_rows(total, weighted, w_out_[e], units)
            if b_out != 0:
                add_scaled(total, factor, b_out_[e])
    return False


@compiled
def node_tree(
    begin: int, end: int, x: int, stride: int, w_in: int, b_in: int, w_out: int, out: int,
    logits: int, leaf: int, n_rows: int, n_trees: int, levels: int, in_features: int,
    out_features: int, code: int,
) -> None:  # fmt: skip
    """Write the outputs of rows begin..end-1, and unless 0 their `logits` and leaves.

    `b_in` 0 is none.
    """
    n_nodes = (1 << levels) - 1
    w_ = carray(floats(w_in), (n_trees * n_nodes, in_features))
    b_ = carray(floats(b_in), n_trees * n_nodes)
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
                if b_in != 0:
                    z += b_[visited[level]]
                hidden[level] = activate(z, code)
                if logits != 0:
                    logits_[tree, row, level] = z
                node = 2 * node + (2 if z > ZERO else 1)
            add_rows(total, hidden, v_, visited)
            if leaf != 0:
                leaf_[tree, row] = node - n_nodes


@compiled
def descend(
    begin: int, end: int, x: int, stride: int, order: int, w_in: int, b_in: int, node: int,
    logits: int, first: int, last: int, levels: int, in_features: int,
) -> None:  # fmt: skip
    """Walk rows order[begin..end-1] of one tree from level `first` down to level `last`.

    `node` holds where each row is and is moved on: in heap order, a leaf's being past the nodes.
    """
    n_nodes = (1 << levels) - 1
    order_ = carray(integers(order), end)
    node_, logits_ = integers(node), floats(logits)
    w_ = carray(floats(w_in), (n_nodes, in_features))
    b_ = carray(floats(b_in), n_nodes)
    for at in range(begin, end):
        row = order_[at]
        values = row_of(x, row, stride, in_features)
        here = node_[row]
        for level in range(first, last):
            z = dot(values, w_[here])
            if b_in != 0:
                z += b_[here]
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


@compiled
def path_gradients(
    begin: int, end: int, order: int, grad: int, stride: int, w_in: int, w_out: int, logits: int,
    leaf: int, hidden: int, d_z: int, d_x: int, n_rows: int, n_trees: int, levels: int,
    in_features: int, out_features: int, code: int,
) -> None:  # fmt: skip
    """Write a(z) and dz of the visited nodes and dx, for rows order[begin..end-1]."""
    n_nodes = (1 << levels) - 1
    order_ = carray(integers(order), end)
    w_ = carray(floats(w_in), (n_trees * n_nodes, in_features))
    v_ = carray(floats(w_out), (n_trees * n_nodes, out_features))
    logits_ = carray(floats(logits), (n_trees, n_rows, levels))
    leaf_ = carray(integers(leaf), (n_trees, n_rows))
    hidden_ = carray(floats(hidden), (n_trees, n_rows, levels))
    d_z_ = carray(floats(d_z), (n_trees, n_rows, levels))
    visited = np.empty(levels, np.int64)
    for at in range(begin, end):
        row = order_[at]
        values = row_of(grad, row, stride, out_features)
        total = row_of(d_x, row, in_features, in_features)
        total[:] = ZERO
        for tree in range(n_trees):
            here = leaf_[tree, row] + n_nodes
            for level in range(levels - 1, -1, -1):
                here = (here - 1) // 2
                visited[level] = tree * n_nodes + here
                z = logits_[tree, row, level]
                hidden_[tree, row, level] = activate(z, code)
                d_z_[tree, row, level] = slope(z, code) * dot(values, v_[visited[level]])
            add_rows(total, d_z_[tree, row], w_, visited)


@compiled
def add_outer(
    begin: int, end: int, order: int, factors: int, values: int, stride: int, leaf: int, d_w: int,
    n_rows: int, n_trees: int, levels: int, features: int,
) -> None:  # fmt: skip
    """Add to columns begin..end-1 of every node's `d_w` its factor times each visitor's values.

    The rows follow one another as `order` has them, whatever the columns.
    """
    n_nodes = (1 << levels) - 1
    order_ = carray(integers(order), n_rows)
    factors_ = carray(floats(factors), (n_trees, n_rows, levels))
    leaf_ = carray(integers(leaf), (n_trees, n_rows))
    for at in range(n_rows):
        row = order_[at]
        columns = row_of(values + 4 * begin, row, stride, end - begin)
        for tree in range(n_trees):
            here = leaf_[tree, row] + n_nodes
            for level in range(levels - 1, -1, -1):
                here = (here - 1) // 2
                total = row_of(d_w + 4 * begin, tree * n_nodes + here, features, end - begin)
                add_scaled(total, factors_[tree, row, level], columns)
