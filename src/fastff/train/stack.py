"""Stacking: many models of one shape as one module whose parameters have a run dimension."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def stack(modules: Sequence[M]) -> M:
    """Return one module that computes all of `modules`, which have the same structure.

    Every parameter of shape (...) becomes one of shape (r, ...). Layers work over leading
    dimensions of their parameters, so the result takes inputs (r, b, i), or (b, i) for all runs
    alike, and gives outputs (r, b, o). Buffers are constants: they are the first module's.

    Raises:
        ValueError: for a buffer in the modules' state, which may differ from run to run.

    """
    stacked = copy.deepcopy(modules[0])
    parts = [dict(module.named_parameters()) for module in modules]
    if buffers := [name for name in modules[0].state_dict() if name not in parts[0]]:
        raise ValueError(
            f"buffer {buffers[0]!r} would be one for all runs; allowed is a parameter, with "
            "requires_grad=False where it is fixed"
        )
    for name, parameter in parts[0].items():
        owner, _, leaf = name.rpartition(".")
        together = torch.stack([part[name].detach() for part in parts])
        in_stack = nn.Parameter(together, requires_grad=parameter.requires_grad)
        setattr(stacked.get_submodule(owner), leaf, in_stack)
    return stacked
