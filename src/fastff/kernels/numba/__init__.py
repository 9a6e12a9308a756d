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

from fastff.kernels import tuning
from fastff.kernels.activations import CODES
from fastff.kernels.numba import loops
from fastff.kernels.portable import chosen_experts_backward as chosen_experts_backward
from fastff.kernels.reference import (
    ExpertArguments,
    TreeArguments,
    contiguous,
    levels_of,
    no_memory,
    no_such_expert,
    path_nodes,
)


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
        loops.route, n_rows, levels * in_features, _address(x), stride,
        _address(weight), _address(bias), leaf.data_ptr(), levels, in_features,
    )  # fmt: skip
    return leaf


def node_tree_with_path(arguments: TreeArguments) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs (b, o), logits (t, b, l) and leaves (t, b), as in `reference`."""
    x, (n_trees, n_nodes, _) = arguments.x, arguments.w_in.shape
    logits = x.new_empty(n_trees, len(x), levels_of(n_nodes))
    leaf = x.new_empty(n_trees, len(x), dtype=torch.int64)
    return node_tree(arguments, logits, leaf), logits, leaf


def node_tree(
    arguments: TreeArguments, logits: Tensor | None = None, leaf: Tensor | None = None
) -> Tensor:
    """Return the outputs (b, o) of `reference.node_tree_with_path`.

    Args:
        arguments: float32, with any strides.
        logits: where those of the visited nodes are written, (t, b, l).
        leaf: where the leaves reached are written, (t, b).

    """
    x, w_in, w_out, activation, b_in = arguments
    n_rows, in_features = x.shape
    x, stride = _rows(x)
    w_in, w_out, b_in = w_in.contiguous(), w_out.contiguous(), contiguous(b_in)
    n_trees, n_nodes, out_features = w_out.shape
    levels = levels_of(n_nodes)
    out = x.new_empty(n_rows, out_features)
    if n_rows >= tuning.SORTED_ROWS and levels >= tuning.SORTED_LEVELS:
        arguments = TreeArguments(x, w_in, w_out, activation, b_in)
        _node_tree_sorted(arguments, out, logits, leaf)
        return out
    _spread(
        loops.node_tree, n_rows, n_trees * levels * (in_features + out_features),
        _address(x), stride, _address(w_in), _address(b_in), _address(w_out), out.data_ptr(),
        _address(logits), _address(leaf), n_rows, n_trees, levels, in_features, out_features,
        CODES[activation],
    )  # fmt: skip
    return out


def _node_tree_sorted(
    arguments: TreeArguments, out: Tensor, logits: Tensor | None, leaf: Tensor | None
) -> None:
    """Write `out` as `node_tree` does, for rows in the order of the nodes that they reach.

    The values of a row lie side by side, the weights are contiguous.

    On one core of an AMD EPYC, 1.07 times as fast for 1,024 inputs of a 768 -> 768 tree of 12
    levels, whose weights are many times the size of the cache, and 1.29 times for 4,096.
    """
    x, w_in, w_out, activation, b_in = arguments
    stride = x.stride(0)
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
                loops.descend, n_rows, (last - first) * in_features, _address(x), stride,
                order.data_ptr(), _address(w_in[tree]), bias, node.data_ptr(), _address(z),
                first, last, levels, in_features,
            )  # fmt: skip
            order = node.argsort()
        _spread(
            loops.sum_paths, n_rows, levels * out_features, order.data_ptr(),
            node.data_ptr(), _address(z), _address(w_out[tree]), out.data_ptr(),
            _address(None if leaf is None else leaf[tree]), int(tree > 0), levels, out_features,
            CODES[activation],
        )  # fmt: skip


def node_tree_backward(
    grad: Tensor, arguments: TreeArguments, logits: Tensor, leaf: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of x, w_in, w_out and b_in, as in `reference`.

    The same to the last bit for any number of threads: rows are shared out for what is theirs,
    columns for the sums over rows. Inputs and `grad` may have any strides.
    """
    x, w_in, w_out, activation, b_in = arguments
    (n_rows, in_features), (n_trees, n_nodes, out_features) = x.shape, w_out.shape
    levels = levels_of(n_nodes)
    (x, x_stride), (grad, grad_stride) = _rows(x), _rows(grad)
    logits, leaf = logits.contiguous(), leaf.contiguous()
    hidden, d_z = torch.empty_like(logits), torch.empty_like(logits)
    d_x, d_in, d_out = x.new_empty(x.shape), torch.zeros_like(w_in), torch.zeros_like(w_out)
    order = leaf[0].argsort(stable=True)
    _spread(
        loops.path_gradients, n_rows, n_trees * levels * (in_features + out_features),
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
            loops.add_outer, features, n_rows * n_trees * levels, order.data_ptr(),
            _address(factors), _address(values), stride, _address(leaf), _address(d_w), n_rows,
            n_trees, levels, features,
        )  # fmt: skip
    if b_in is None:
        return d_x, d_in, d_out, None
    d_b = w_in.new_zeros(n_trees, n_nodes)
    for tree, nodes in enumerate(path_nodes(leaf, levels)):
        d_b[tree].index_add_(0, nodes.flatten(), d_z[tree].flatten())
    return d_x, d_in, d_out, d_b


def chosen_experts_with_hidden(arguments: ExpertArguments) -> tuple[Tensor, Tensor]:
    """Return outputs (b, o) and hidden units (b, k, h), as in `reference`."""
    hidden = arguments.x.new_empty(*arguments.expert.shape, arguments.w_in.shape[1])
    return chosen_experts(arguments, hidden), hidden


def chosen_experts(arguments: ExpertArguments, hidden: Tensor | None = None) -> Tensor:
    """Return the outputs (b, o) of `reference.chosen_experts_with_hidden`.

    Raises IndexError for an expert that there isn't.

    Args:
        arguments: float32, with any strides.
        hidden: where the hidden units before activation are written, (b, k, h).

    """
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    x, stride = _rows(x)
    expert, w_in, w_out = expert.contiguous(), w_in.contiguous(), w_out.contiguous()
    scale, b_in, b_out = contiguous(scale), contiguous(b_in), contiguous(b_out)
    (n_rows, in_features), (_, top_k) = x.shape, expert.shape
    n_experts, hidden_features, out_features = w_out.shape
    out = x.new_empty(n_rows, out_features)
    stopped = _spread(
        loops.chosen_experts, n_rows, top_k * hidden_features * (in_features + out_features),
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
    if n_rows * work >= 2 * tuning.WORK_PER_THREAD and threading.main_thread().is_alive():
        n_threads = min(n_rows, n_rows * work // tuning.WORK_PER_THREAD, torch.get_num_threads())
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
