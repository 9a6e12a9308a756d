"""Routing down a tree, in whichever of the two ways is faster (measured on an H100).

In float32 a walk row by row is as fast or faster at every depth and batch. In half precision the
input is read in half the time, but a walk's steps take more than half as long as before. So large
batches take all nodes at once as a matrix product, where the tree is one block of levels; sorting
the inputs for a second block costs more than walking on.

`torch.backends.cuda.matmul.allow_tf32` changes nothing here: logits rounded to TF32 would send
inputs the wrong way, and reading less is not what they would save.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.kernels.cuda.descent_blocks import FIRST_LEVELS, descend_blocks
from fastff.kernels.cuda.descent_rows import descend_rows
from fastff.kernels.reference import levels_of

MIN_ROWS = 8192  # fewer don't fill the device in tiles
MAX_LEVELS = FIRST_LEVELS


def route(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the leaf (b,), int64, that a walk from the root reaches: right iff z > 0.

    Args:
        x: inputs (b, i), with any strides.
        weight: of the nodes in heap order, (n, i), contiguous, in the dtype of `x`.
        bias: of the nodes, (n,).

    """
    levels = levels_of(len(weight))
    blocks = x.dtype != torch.float32 and len(x) >= MIN_ROWS and levels <= MAX_LEVELS
    descend = descend_blocks if blocks else descend_rows
    return descend(x, weight, bias, levels).reached
