"""How many operations the operators take, for `torch.utils.flop_counter`: those of what is visited.

The counter's own module loads Triton and complains where there is none, so it isn't imported: a
counter is told when an operator first runs under it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from fastff.kernels.reference import levels_of


def tell_counters() -> None:
    """Give the formulas to every FlopCounterMode that is on."""
    for mode in _get_current_dispatch_mode_stack():
        registry = getattr(getattr(mode, "counter", mode), "flop_registry", None)
        if registry is not None:
            for operator, formula in FORMULAS.items():
                registry.setdefault(operator, formula)


def _route(x: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    return 2 * x.shape[0] * levels_of(weight.shape[0]) * x.shape[1]


def _node_tree(x: Tensor, w_in: Tensor, w_out: Tensor, *_: Any, **__: Any) -> int:
    n_visited = w_in.shape[0] * levels_of(w_in.shape[1])
    return 2 * x.shape[0] * n_visited * (w_in.shape[-1] + w_out.shape[-1])


def _chosen_experts(
    x: Tensor, expert: Tensor, w_in: Tensor, w_out: Tensor, *_: Any, **__: Any
) -> int:
    return 2 * expert.numel() * w_in.shape[1] * (w_in.shape[-1] + w_out.shape[-1])


def _backward(forward: Callable[..., int], n_before: int) -> Callable[..., int]:
    """Return twice the operations of `forward`, whose arguments follow `n_before` others."""

    def formula(*args: Any, **_: Any) -> int:
        return 2 * forward(*args[n_before:])

    return formula


FORMULAS: dict[Any, Callable[..., int]] = {
    torch.ops.fastff.route: _route,
    torch.ops.fastff.node_tree: _node_tree,
    torch.ops.fastff.node_tree_backward: _backward(_node_tree, 1),
    torch.ops.fastff.chosen_experts: _chosen_experts,
    torch.ops.fastff.chosen_experts_backward: _backward(_chosen_experts, 2),
}
