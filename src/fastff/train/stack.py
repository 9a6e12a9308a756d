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
    alike, and gives outputs (r, b, o). Buffers are shared: they are the first module's.
    """
    stacked = copy.deepcopy(modules[0])
    parts = [dict(module.named_parameters()) for module in modules]
    for name in parts[0]:
        owner, _, leaf = name.rpartition(".")
        together = torch.stack([part[name].detach() for part in parts])
        setattr(stacked.get_submodule(owner), leaf, nn.Parameter(together))
    return stacked
