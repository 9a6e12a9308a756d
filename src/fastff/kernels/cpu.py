"""CPU kernels in float32, compiled by numba.

Numba, not a C++ extension through torch's tooling, was chosen by measurement and by what it asks
of a user. On one core of an AMD EPYC, 1,024 inputs of a 768 -> 768 tree of 12 levels took 2.9 ms
with numba and 7.5 ms with the same loops in C++ (g++ 12, -O3 -march=native -ffast-math), which
doesn't split a sum over several registers by itself. Both move the weights at the speed of the
cache once it is split. An extension would save about 3 µs of Python a call, which shows at a
batch of one alone; but it needs a C++ compiler at hand and half a minute on first use, while pip
and conda install numba, compiler included.

The rows are shared out over as many threads as torch has (`torch.set_num_threads`) once there is
enough to do for each.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from fastff.kernels import cpu_loops
from fastff.kernels.activations import CODES
from fastff.kernels.portable import chosen_experts_backward as chosen_experts_backward
from fastff.kernels.reference import levels_of, no_memory, no_such_expert, path_nodes

SORTED_ROWS = 1024  # from which on a tree's rows are sorted on their way down, ...
SORTED_LEVELS = 8  # ... if it has so many levels: a smaller tree stays in the cache as it is
WORK_PER_THREAD = 4_000_000  # multiplications: about 0.4 ms, several times the cost of a thread


def route(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the leaf (b,), int64, that a walk from the root reaches: right iff z > 0.

    Args:
        x: inputs (b, i), float32, with any strides.
        weight: of the nodes in heap order, (n, i), contiguous.
        bias: of the nodes (n,).

    """
    n_rows, in_features = x.shape
    x, stride = _rows(x)
    levels = levels_of(len(weight))
    leaf = x.new_empty(n_rows, dtype=torch.int64)
    _spread(
        cpu_loops.route, n_rows, levels * in_features, _address(x), stride,
        _address(weight), _address(bias), leaf.data_ptr(), levels, in_features,
    )  # fmt: skip
    return leaf


def node_tree_with_path(
    x: Tensor, w_in: Tensor, w_out: Tensor, activation: str, b_in: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs (b, o), logits (t, b, l) and leaves (t, b), as in `reference`."""
    n_trees, n_nodes, _ = w_in.shape
    logits = x.new_empty(n_trees, len(x), levels_of(n_nodes))
    leaf = x.new_empty(n_trees, len(x), dtype=torch.int64)
    return node_tree(x, w_in, w_out, activation, b_in, logits, leaf), logits, leaf


def node_tree(
    x: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    b_in: Tensor | None = None,
    logits: Tensor | None = None,
    leaf: Tensor | None = None,
) -> Tensor:
    """Return Σ a(z_j) v_j over parallel trees and the nodes j on each tree's path, (b, o).

    z_j = <w_j, x> + b_j.

    Args:
        x: inputs (b, i), float32, with any strides.
        w_in: (t, n, i), contiguous.
        w_out: (t, n, o), contiguous.
        activation: a, a key of ACTIVATIONS.
        b_in: (t, n), contiguous.
        logits: where those of the visited nodes are written, (t, b, l).
        leaf: where the leaves reached are written, (t, b).

    """
    n_rows, in_features = x.shape
    x, stride = _rows(x)
    n_trees, n_nodes, out_features = w_out.shape
    levels = levels_of(n_nodes)
    out = x.new_empty(n_rows, out_features)
    if n_rows >= SORTED_ROWS and levels >= SORTED_LEVELS:
        _node_tree_sorted(x, stride, w_in, w_out, activation, b_in, out, logits, leaf)
        return out
    _spread(
        cpu_loops.node_tree, n_rows, n_trees * levels * (in_features + out_features),
        _address(x), stride, _address(w_in), _address(b_in), _address(w_out), out.data_ptr(),
        _address(logits), _address(leaf), n_rows, n_trees, levels, in_features, out_features,
        CODES[activation],
    )  # fmt: skip
    return out


def _node_tree_sorted(
    x: Tensor,
    stride: int,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    b_in: Tensor | None,
    out: Tensor,
    logits: Tensor | None,
    leaf: Tensor | None,
) -> None:
    """Write `out` as `node_tree` does, for rows in the order of the nodes that they reach.

    On one core of an AMD EPYC, 1.07 times as fast for 1,024 inputs of a 768 -> 768 tree of 12
    levels, whose weights are many times the size of the cache, and 1.29 times for 4,096.
    """
    n_rows, in_features = x.shape
    n_trees, n_nodes, out_features = w_out.shape
    levels = levels_of(n_nodes)
    half = levels // 2
    in_turn = torch.arange(n_rows, device="cpu")
    for tree in range(n_trees):
        bias = _address(None if b_in is None else b_in[tree])
        z = x.new_empty(n_rows, levels) if logits is None else logits[tree]
        node = x.new_zeros(n_rows, dtype=torch.int64)
        order = in_turn
        for first, last in ((0, half), (half, levels)):
            _spread(
                cpu_loops.descend, n_rows, (last - first) * in_features, _address(x), stride,
                order.data_ptr(), _address(w_in[tree]), bias, node.data_ptr(), _address(z),
                first, last, levels, in_features,
            )  # fmt: skip
            order = node.argsort()
        _spread(
            cpu_loops.sum_paths, n_rows, levels * out_features, order.data_ptr(),
            node.data_ptr(), _address(z), _address(w_out[tree]), out.data_ptr(),
            _address(None if leaf is None else leaf[tree]), int(tree > 0), levels, out_features,
            CODES[activation],
        )  # fmt: skip


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
    """Return the gradients of x, w_in, w_out and, for `bias`, b_in, as in `reference`.

    The same to the last bit for any number of threads: rows are shared out for what is theirs,
    columns for the sums over rows.

    Args:
        grad: gradient of the outputs (b, o), float32, with any strides.
        x: inputs (b, i), likewise.
        w_in: (t, n, i), contiguous.
        w_out: (t, n, o), contiguous.
        logits: of the visited nodes, (t, b, l).
        leaf: reached in each tree, (t, b).
        activation: a key of ACTIVATIONS.
        bias: whether there is a b_in, (t, n).

    """
    (n_rows, in_features), (n_trees, n_nodes, out_features) = x.shape, w_out.shape
    levels = levels_of(n_nodes)
    (x, x_stride), (grad, grad_stride) = _rows(x), _rows(grad)
    logits, leaf = logits.contiguous(), leaf.contiguous()
    hidden, d_z = torch.empty_like(logits), torch.empty_like(logits)
    d_x, d_in, d_out = x.new_empty(x.shape), torch.zeros_like(w_in), torch.zeros_like(w_out)
    order = leaf[0].argsort(stable=True)
    _spread(
        cpu_loops.path_gradients, n_rows, n_trees * levels * (in_features + out_features),
        order.data_ptr(), _address(grad), grad_stride, _address(w_in), _address(w_out),
        _address(logits), _address(leaf), _address(hidden), d_z.data_ptr(), d_x.data_ptr(),
        n_rows, n_trees, levels, in_features, out_features, CODES[activation],
    )  # fmt: skip
    for d_w, factors, values, stride in (
        (d_in, d_z, x, x_stride),
        (d_out, hidden, grad, grad_stride),
    ):
        features = values.shape[1]
        _spread(
            cpu_loops.add_outer, features, n_rows * n_trees * levels, order.data_ptr(),
            _address(factors), _address(values), stride, _address(leaf), _address(d_w), n_rows,
            n_trees, levels, features,
        )  # fmt: skip
    if not bias:
        return d_x, d_in, d_out, None
    d_b = w_in.new_zeros(n_trees, n_nodes)
    for tree, nodes in enumerate(path_nodes(leaf, levels)):
        d_b[tree].index_add_(0, nodes.flatten(), d_z[tree].flatten())
    return d_x, d_in, d_out, d_b


def chosen_experts_with_hidden(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    scale: Tensor | None = None,
    b_in: Tensor | None = None,
    b_out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return outputs (b, o) and hidden units (b, k, h), as in `reference`."""
    hidden = x.new_empty(*expert.shape, w_in.shape[1])
    out = chosen_experts(
        x, expert, w_in, w_out, activation, scale=scale, b_in=b_in, b_out=b_out, hidden=hidden
    )
    return out, hidden


def chosen_experts(
    x: Tensor,
    expert: Tensor,
    w_in: Tensor,
    w_out: Tensor,
    activation: str,
    *,
    scale: Tensor | None = None,
    b_in: Tensor | None = None,
    b_out: Tensor | None = None,
    hidden: Tensor | None = None,
) -> Tensor:
    """Return Σ s_k E_k(x) over the k experts chosen for an input, (b, o).

    Raises IndexError for an expert that there isn't.

    Args:
        x: inputs (b, i), float32, with any strides.
        expert: indices of the chosen experts, (b, k), int64.
        w_in: (e, h, i), contiguous.
        w_out: (e, h, o), contiguous.
        activation: a key of ACTIVATIONS.
        scale: s, (b, k); None is 1.
        b_in: (e, h), contiguous.
        b_out: (e, o), contiguous.
        hidden: where the hidden units before activation are written, (b, k, h).

    """
    (x, stride), expert = _rows(x), expert.contiguous()
    scale = None if scale is None else scale.contiguous()
    (n_rows, in_features), (_, top_k) = x.shape, expert.shape
    n_experts, hidden_features, out_features = w_out.shape
    out = x.new_empty(n_rows, out_features)
    stopped = _spread(
        cpu_loops.chosen_experts, n_rows, top_k * hidden_features * (in_features + out_features),
        _address(x), stride, _address(expert), _address(scale), _address(w_in),
        _address(b_in), _address(w_out), _address(b_out), out.data_ptr(), _address(hidden),
        top_k, n_experts, hidden_features, in_features, out_features, CODES[activation],
    )  # fmt: skip
    if stopped:
        raise no_such_expert(expert, n_experts)
    return out


def _spread(
    loop: Callable[..., bool | None], n_rows: int, work: int, *arguments: int
) -> bool | None:
    """Run `loop` over all rows, `work` multiplications each, in parts on as many threads as pay.

    Returns whether it stopped early in any part.
    """
    n_threads = 1
    # no thread can be started once the interpreter ends, as in a server's thread or `atexit`
    if n_rows * work >= 2 * WORK_PER_THREAD and threading.main_thread().is_alive():
        n_threads = min(n_rows, n_rows * work // WORK_PER_THREAD, torch.get_num_threads())
    if n_threads == 1:
        return loop(0, n_rows, *arguments)
    bounds = [n_rows * part // n_threads for part in range(n_threads + 1)]
    with ThreadPoolExecutor(n_threads) as pool:
        parts = [pool.submit(loop, *part, *arguments) for part in itertools.pairwise(bounds)]
        return any(part.result() for part in parts)


def _rows(x: Tensor) -> tuple[Tensor, int]:
    """Return `x` (b, i), copied if the values of a row don't lie side by side; a row's stride."""
    stride, between = x.stride()
    return (x, stride) if between == 1 else (x.contiguous(), x.shape[1])


def _address(tensor: Tensor | None) -> int:
    """Return where the elements of `tensor` are, 0 for None; RuntimeError if they are nowhere."""
    if tensor is None:
        return 0
    address = tensor.data_ptr()
    if address == 0 and tensor.numel() > 0:
        raise no_memory(tensor)
    return address
