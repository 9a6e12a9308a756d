"""A complete binary tree in heap order, and the forms of its leaf probabilities.

Root 0; the children of node i are 2i+1 (left) and 2i+2 (right); leaf l is node n-1+l of the
n = 2**depth leaves. Everywhere: right iff the node's logit z > 0, and P(right) = sigmoid(z).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

NODE_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "logsigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "relu": F.relu,
    "linear": lambda z: z,
}


FIRM = 1e4  # a finite logit of a decision without entropy in any dtype


def path_matrix(depth: int, device: torch.device | str | None = None) -> Tensor:
    """Return the 0/1 matrix T (leaf, node and side), float32, 2**depth x 2(2**depth - 1).

    Column j is node j's left side, column n_nodes + j its right side. An entry is 1 where the
    path from the root to the leaf takes that side of that node.
    """
    n_nodes = 2**depth - 1
    matrix = torch.zeros(n_nodes + 1, 2 * n_nodes, device=device)
    leaves = torch.arange(n_nodes + 1, device=device)
    child = leaves + n_nodes
    for _ in range(depth):
        parent = (child - 1) // 2
        is_right = child == 2 * parent + 2
        matrix[leaves, parent + n_nodes * is_right] = 1
        child = parent
    return matrix


def product_form(z: Tensor) -> Tensor:
    """Return the leaf probabilities (..., e), products of sigmoids taken level by level.

    The form of the paper (Belcak & Wattenhofer, arXiv 2308.14711). `z` (..., n): node logits.
    """
    p = torch.ones_like(z[..., :1])
    for start, stop in _levels(z):
        level = z[..., start:stop]
        sides = torch.stack([torch.sigmoid(-level), torch.sigmoid(level)], dim=-1)
        p = (p.unsqueeze(-1) * sides).flatten(-2)  # (..., 2 * nodes of the level)
    return p


def log_form(z: Tensor) -> Tensor:
    """Return the logarithms (..., e) of the leaf probabilities, sums of log-sigmoids.

    Their exp equals the product form, without its underflow on the way. `z` (..., n): node logits.
    """
    log_p = torch.zeros_like(z[..., :1])
    for start, stop in _levels(z):
        level = z[..., start:stop]
        sides = torch.stack([F.logsigmoid(-level), F.logsigmoid(level)], dim=-1)
        log_p = (log_p.unsqueeze(-1) + sides).flatten(-2)
    return log_p


def transition_form(z: Tensor, matrix: Tensor, node_activation: str) -> Tensor:
    """Return a([-z, z]) Tᵀ, whose softmax is the leaf weights (..., e), in one matrix product.

    Its softmax equals the product form for a = log-sigmoid; the other activations of the FastFF
    study (softplus, relu, linear) give other distributions with the same most likely side at a
    node.

    Args:
        z: node logits (..., n).
        matrix: T, from `path_matrix` or learned on its entries, (..., e, s n).
        node_activation: a key of NODE_ACTIVATIONS.

    """
    sides = torch.cat([-z, z], dim=-1)  # (..., s n)
    return NODE_ACTIVATIONS[node_activation](sides) @ matrix.mT


def descend(z: Tensor) -> Tensor:
    """Return the leaf (...) in 0..n-1 that a walk from the root reaches: right iff z > 0.

    A NaN logit is not > 0 and goes left, here and in every kernel.
    """
    return _walk(z)[-1].squeeze(-1) - z.shape[-1]


def path_mask(z: Tensor) -> Tensor:
    """Return 1 for the nodes that a walk from the root visits and 0 elsewhere, (..., n) as `z`."""
    return torch.zeros_like(z).scatter(-1, torch.cat(_walk(z)[:-1], dim=-1), 1.0)


def node_entropies(z: Tensor) -> Tensor:
    """Return the entropy in nats of every node's decision, (..., n), of node logits (..., n).

    0 for an infinite logit, as of a bias that closes a subtree.
    """
    z = z.masked_fill(z.isinf(), FIRM)
    return F.softplus(z) - z * torch.sigmoid(z)


def node_visits(leaf: Tensor, depth: int) -> Tensor:
    """Return how many inputs pass each node and reach each leaf, (..., n + e), int64.

    Args:
        leaf: the leaf that each input is routed to, (..., b).
        depth: of the tree.

    """
    visits = torch.zeros(*leaf.shape[:-1], 2 ** (depth + 1) - 1, dtype=torch.long)
    visits = visits.to(leaf.device)
    node = leaf + 2**depth - 1
    for _ in range(depth + 1):
        visits.scatter_add_(-1, node, torch.ones_like(node))
        node = (node - 1) // 2
    return visits


def _walk(z: Tensor) -> list[Tensor]:
    """Return the nodes (..., 1) of a walk from the root, right iff z > 0; the last is a leaf."""
    nodes = [z.new_zeros(*z.shape[:-1], 1, dtype=torch.long)]
    for _ in _levels(z):
        nodes.append(2 * nodes[-1] + 1 + (z.gather(-1, nodes[-1]) > 0).long())
    return nodes


def _levels(z: Tensor) -> list[tuple[int, int]]:
    """Return first and last + 1 node of each level of the tree whose node logits are `z`."""
    depth = (int(z.shape[-1]) + 1).bit_length() - 1  # a tensor under torch.jit.trace
    return [(2**level - 1, 2 ** (level + 1) - 1) for level in range(depth)]
