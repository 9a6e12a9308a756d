"""The activation functions of hidden units and nodes, and their slopes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "selu": F.selu,
    "linear": lambda z: z,
}
CODES = {name: code for code, name in enumerate(ACTIVATIONS)}  # how the kernels tell them apart

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805


def slope(z: Tensor, activation: str) -> Tensor:
    """Return the derivative of `activation` at `z`, any shape; at 0 and NaN it is torch's.

    A sum over what isn't visited must not see it: the derivative of "linear" is 1 everywhere.
    """
    if activation == "relu":
        return (~(z <= 0)).to(z.dtype)
    if activation == "gelu":
        probability: Tensor = torch.special.ndtr(z)
        return probability + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    if activation == "selu":
        return SELU_SCALE * torch.where(z > 0, torch.ones_like(z), SELU_ALPHA * z.exp())
    return torch.ones_like(z)
