"""What a gate is: routing weights over experts, in a soft and a hard form."""

from __future__ import annotations

import abc

import torch.nn.functional as F
from torch import Tensor, nn


class Gate(nn.Module, abc.ABC):
    """Routing weights over `n_experts` experts for every input.

    The soft form is what training differentiates. The hard form is what inference uses. Called
    as a module, a gate gives the soft form in training mode and the hard form in evaluation mode.
    """

    def __init__(self, in_features: int, n_experts: int) -> None:
        super().__init__()
        self.in_features = in_features
        self.n_experts = n_experts

    @abc.abstractmethod
    def soft(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e) that training uses, for inputs (..., b, i)."""

    @abc.abstractmethod
    def hard(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e) that inference uses, for inputs (..., b, i)."""

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the weights (..., b, e); `hard` overrides the module's mode."""
        if hard is None:
            hard = not self.training
        return self.hard(x) if hard else self.soft(x)


def one_hot(index: Tensor, n_experts: int, like: Tensor) -> Tensor:
    """Return weights (..., e) of 1 at `index` (...) and 0 elsewhere, in the dtype of `like`."""
    return F.one_hot(index, n_experts).to(like.dtype)
