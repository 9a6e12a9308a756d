"""The plain definitions that every kernel is held against, and what `portable` is made of.

They do what the kernels do, step by step in PyTorch, for any dtype and device: only the visited
nodes and the chosen experts are computed. They agree with the dense forms of `fastff.layers`,
which training and many runs at once use.

Dimension letters: b batch, i in_features, h hidden, o out_features, e expert or leaf, n node,
k selected, t parallel tree, l level.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from fastff.kernels.activations import ACTIVATIONS, slope


class TreeArguments(NamedTuple):
    """What a node-only tree is computed from: Σ a(z_j) v_j over its paths, z_j = <w_j, x> + b_j.

    Attributes:
        x: inputs (b, i).
        w_in: the nodes' w_j in heap order, (t, n, i), in the dtype of `x`, as all weights.
        w_out: the nodes' v_j, (t, n, o).
        activation: a, a key of ACTIVATIONS.
        b_in: the nodes' b_j, (t, n); None is 0.

    """

    x: Tensor
    w_in: Tensor
    w_out: Tensor
    activation: str
    b_in: Tensor | None = None

    def contiguous(self) -> TreeArguments:
        """Return the same with all but the inputs as one block of memory each."""
        x, w_in, w_out, activation, b_in = self
        return TreeArguments(x, w_in.contiguous(), w_out.contiguous(), activation, contiguous(b_in))

    def to(self, dtype: torch.dtype) -> TreeArguments:
        """Return the same with all tensors in a dtype."""
        x, w_in, w_out, activation, b_in = self
        return TreeArguments(
            x.to(dtype), w_in.to(dtype), w_out.to(dtype), activation, cast(b_in, dtype)
        )


class ExpertArguments(NamedTuple):
    """What chosen experts are computed from: Σ s_k E_k(x), E(x) = a(x W_inᵀ + b_in) W_out + b_out.

    Attributes:
        x: inputs (b, i).
        expert: indices of the chosen experts, (b, k), int64.
        w_in: (e, h, i), in the dtype of `x`, as scales and all weights.
        w_out: (e, h, o).
        activation: a, a key of ACTIVATIONS.
        scale: s, (b, k); None is 1.
        b_in: (e, h); None is 0.
        b_out: (e, o); None is 0.

    """

    x: Tensor
    expert: Tensor
    w_in: Tensor
    w_out: Tensor
    activation: str
    scale: Tensor | None = None
    b_in: Tensor | None = None
    b_out: Tensor | None = None

    def contiguous(self) -> ExpertArguments:
        """Return the same with all but the inputs as one block of memory each."""
        x, expert, w_in, w_out, activation, scale, b_in, b_out = self
        return ExpertArguments(
            x, expert.contiguous(), w_in.contiguous(), w_out.contiguous(), activation,
            contiguous(scale), contiguous(b_in), contiguous(b_out),
        )  # fmt: skip

    def to(self, dtype: torch.dtype) -> ExpertArguments:
        """Return the same with all tensors but the indices in a dtype."""
        x, expert, w_in, w_out, activation, scale, b_in, b_out = self
        return ExpertArguments(
            x.to(dtype), expert, w_in.to(dtype), w_out.to(dtype), activation,
            cast(scale, dtype), cast(b_in, dtype), cast(b_out, dtype),
        )  # fmt: skip


def contiguous(tensor: Tensor | None) -> Tensor | None:
    """Return a tensor as one block of memory, None for None."""
    return None if tensor is None else tensor.contiguous()


def cast(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return a tensor in a dtype, None for None."""
    return None if tensor is None else tensor.to(dtype)


def levels_of(n_nodes: int) -> int:
    """Return the levels of a complete tree of `n_nodes` = 2**levels - 1 nodes."""
    levels = n_nodes.bit_length()
    if n_nodes < 1 or n_nodes != 2**levels - 1:
        raise ValueError(f"{n_nodes} nodes: a complete tree has 2**levels - 1, at least 1")
    return levels


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which sums of numbers of `dtype` are taken."""
    return torch.promote_types(dtype, torch.float32)


def descend(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Walk every input from the root down a tree, right iff the node's logit z > 0.

    So 0 goes left, and NaN, which is above nothing: everywhere in the library.

    Args:
        x: inputs (b, i).
        weight: of the nodes in heap order, (n, i); z_j = <w_j, x> (+ b_j).
        bias: of the nodes, (n,).

    Returns:
        The logits of the visited nodes (b, l), at least float32, and the leaf reached (b,), int64
        in 0..n.

    """
    node = torch.zeros(len(x), dtype=torch.long, device=x.device)
    logits, dtype = [], at_least_float32(x.dtype)
    x = x.to(dtype)
    for _ in range(levels_of(len(weight))):
        z = (x * weight[node].to(dtype)).sum(-1)
        if bias is not None:
            z = z + bias[node]
        logits.append(z)
        node = 2 * node + 1 + (z > 0).long()
    return torch.stack(logits, dim=-1), node - len(weight)


def route(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the leaves that `descend` reaches, (b,), int64."""
    return descend(x, weight, bias)[1]


def path_nodes(leaf: Tensor, levels: int) -> Tensor:
    """Return the nodes (..., l) in heap order above each `leaf` (...) of a tree, root first."""
    up = torch.arange(levels, 0, -1, device=leaf.device)
    nodes: Tensor = ((leaf.unsqueeze(-1) + 2**levels) >> up) - 1
    return nodes


def node_tree_with_path(arguments: TreeArguments) -> tuple[Tensor, Tensor, Tensor]:
    """Sum a(z_j) v_j over parallel trees and the nodes j on each tree's path, z_j = <w_j, x> + b_j.

    Returns:
        Outputs (b, o), the logits of the visited nodes (t, b, l), at least float32, and the leaves
        reached (t, b).

    """
    x, w_in, w_out, activation, b_in = arguments
    out = x.new_zeros(len(x), w_out.shape[-1], dtype=at_least_float32(x.dtype))
    logits, leaves = [], []
    for tree, (w, v) in enumerate(zip(w_in, w_out, strict=True)):
        z, leaf = descend(x, w, None if b_in is None else b_in[tree])
        hidden = ACTIVATIONS[activation](z)
        for level, node in enumerate(path_nodes(leaf, z.shape[-1]).unbind(-1)):
            out = out + hidden[:, level, None] * v[node]
        logits.append(z)
        leaves.append(leaf)
    return out.to(x.dtype), torch.stack(logits), torch.stack(leaves)


def node_tree_backward(
    grad: Tensor, arguments: TreeArguments, logits: Tensor, leaf: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the gradients of x, w_in, w_out and b_in (None without), given that of the outputs.

    The path is a constant. dz_j = a'(z_j) <v_j, grad>, dx = Σ dz_j w_j, dw_j = Σ dz_j x,
    db_j = Σ dz_j and dv_j = Σ a(z_j) grad over the inputs that visit node j.

    Args:
        grad: gradient of the outputs of `node_tree_with_path`, (b, o).
        arguments: of `node_tree_with_path`.
        logits: of the visited nodes, (t, b, l).
        leaf: reached in each tree, (t, b).

    """
    x, w_in, w_out, activation, b_in = arguments
    dtype = at_least_float32(x.dtype)
    x, grad, logits = x.to(dtype), grad.to(dtype), logits.to(dtype)
    d_x = torch.zeros_like(x)
    d_in, d_out = (torch.zeros_like(w, dtype=dtype) for w in (w_in, w_out))
    d_b = None if b_in is None else d_in.new_zeros(w_in.shape[:2])
    nodes = path_nodes(leaf, logits.shape[-1])  # (t, b, l)
    for tree in range(len(w_in)):
        hidden = ACTIVATIONS[activation](logits[tree])
        slopes = slope(logits[tree], activation)
        for level, node in enumerate(nodes[tree].unbind(-1)):
            d_z = slopes[:, level] * (grad * w_out[tree, node]).sum(-1)
            d_x += d_z.unsqueeze(-1) * w_in[tree, node]
            d_in[tree].index_add_(0, node, d_z.unsqueeze(-1) * x)
            d_out[tree].index_add_(0, node, hidden[:, level, None] * grad)
            if d_b is not None:
                d_b[tree].index_add_(0, node, d_z)
    d_x, d_in, d_out = (d.to(w_in.dtype) for d in (d_x, d_in, d_out))
    return d_x, d_in, d_out, None if d_b is None else d_b.to(w_in.dtype)


def no_memory(tensor: Tensor) -> RuntimeError:
    """Return the error for a tensor of numbers that lie nowhere."""
    return RuntimeError(f"a tensor of shape {tuple(tensor.shape)} has no memory: it was freed")


def no_such_expert(expert: Tensor, n_experts: int) -> IndexError:
    """Return the error that names the worst of the indices `expert` (...), not all in 0..e-1."""
    from_centre = (expert.double() - (n_experts - 1) / 2).abs()
    worst = int(expert.flatten()[from_centre.argmax()])
    return IndexError(f"expert: index {worst} is out of range for {n_experts} experts")


def chosen_experts_with_hidden(arguments: ExpertArguments) -> tuple[Tensor, Tensor]:
    """Sum s_k E_k(x) over an input's k chosen experts, E(x) = a(x W_inᵀ + b_in) W_out + b_out.

    Returns:
        Outputs (b, o), and the hidden units before activation (b, k, h).

    """
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    out = x.new_zeros(len(x), w_out.shape[-1])
    hidden = []  # index_select takes no negative index
    for k, e in enumerate(expert.unbind(-1)):
        z = (w_in.index_select(0, e) @ x.unsqueeze(-1)).squeeze(-1)
        if b_in is not None:
            z = z + b_in[e]
        y = (ACTIVATIONS[activation](z).unsqueeze(-2) @ w_out[e]).squeeze(-2)
        if b_out is not None:
            y = y + b_out[e]
        out = out + (y if scale is None else scale[:, k, None] * y)
        hidden.append(z)
    return out, torch.stack(hidden, dim=1)


def chosen_experts_backward(
    grad: Tensor, z: Tensor, arguments: ExpertArguments
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of x, w_in, w_out, scale, b_in and b_out; None where there was None.

    Args:
        grad: gradient of the outputs of `chosen_experts_with_hidden`, (b, o).
        z: its hidden units before activation, (b, k, h).
        arguments: of `chosen_experts_with_hidden`.

    """
    x, expert, w_in, w_out, activation, scale, b_in, b_out = arguments
    top_k = expert.shape[1]
    each, z = expert.flatten(), z.flatten(0, 1)  # a choice each: (b k,), (b k, h)
    x_each = x.repeat_interleave(top_k, dim=0)
    grad_each = grad.repeat_interleave(top_k, dim=0)
    hidden = ACTIVATIONS[activation](z)
    d_hidden = (w_out[each] @ grad_each.unsqueeze(-1)).squeeze(-1)
    d_scale = d_b_in = d_b_out = None
    if scale is not None:
        by_choice = (d_hidden * hidden).sum(-1)
        if b_out is not None:
            by_choice = by_choice + (grad_each * b_out[each]).sum(-1)
        d_scale = by_choice.view_as(scale)
        d_hidden, hidden = d_hidden * scale.view(-1, 1), hidden * scale.view(-1, 1)
        grad_scaled = grad_each * scale.view(-1, 1)
    else:
        grad_scaled = grad_each
    d_z = d_hidden * slope(z, activation)
    d_x = (d_z.unsqueeze(-2) @ w_in[each]).unflatten(0, (len(x), top_k)).sum((1, 2))
    d_in = torch.zeros_like(w_in).index_add_(0, each, d_z.unsqueeze(-1) * x_each.unsqueeze(-2))
    d_out = torch.zeros_like(w_out)
    d_out.index_add_(0, each, hidden.unsqueeze(-1) * grad_each.unsqueeze(-2))
    if b_in is not None:
        d_b_in = torch.zeros_like(b_in).index_add_(0, each, d_z)
    if b_out is not None:
        d_b_out = torch.zeros_like(b_out).index_add_(0, each, grad_scaled)
    return d_x, d_in, d_out, d_scale, d_b_in, d_b_out
