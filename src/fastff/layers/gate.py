"""What a gate is: routing weights over experts, in a soft and a hard form."""

from __future__ import annotations

import abc

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastff.layers.random import Random


class Gate(nn.Module, abc.ABC):
    """Routing weights over `n_experts` experts for every input.

    The soft form is what training differentiates. The hard form is what inference uses. Called
    as a module, a gate gives the soft form in training mode and the hard form in evaluation mode.
    What a gate does at random, it does in training mode only.

    Attributes:
        n_active: how many experts the hard form takes for an input.
        random: where its random numbers come from.

    """

    def __init__(self, in_features: int, n_experts: int, *, n_active: int = 1) -> None:
        super().__init__()
        self.in_features = in_features
        self.n_experts = n_experts
        self.n_active = n_active
        self.random = Random()

    @abc.abstractmethod
    def soft(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e) that training uses, for inputs (..., b, i)."""

    @abc.abstractmethod
    def hard(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e) that inference uses, for inputs (..., b, i)."""

    def chosen(self, x: Tensor) -> tuple[Tensor, Tensor | None] | None:
        """Return the experts that the hard form takes (..., b, k) and their weights, None for 1.

        None if the gate can't tell them without computing the weights of all.
        """
        return None

    def soft_with_loss(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the soft weights, and the gate's own loss (...) to add, or None without one."""
        return self.soft(x), None

    def forward(self, x: Tensor, *, hard: bool | None = None) -> Tensor:
        """Return the weights (..., b, e); `hard` overrides the module's mode."""
        if hard is None:
            hard = not self.training
        return self.hard(x) if hard else self.soft(x)


def one_hot(index: Tensor, n_experts: int, like: Tensor) -> Tensor:
    """Return weights (..., e) of 1 at `index` (...) and 0 elsewhere, in the dtype of `like`."""
    return F.one_hot(index, n_experts).to(like.dtype)


def softmax_top_k(logits: Tensor, top_k: int | None, *, renormalise: bool) -> Tensor:
    """Return softmax weights (..., e) of logits (..., e), of the `top_k` largest alone.

    Args:
        logits: unnormalised log-weights.
        top_k: number of entries kept, the others are 0; None keeps all.
        renormalise: softmax over the kept entries only, instead of those of the full softmax.

    """
    if top_k is None:
        return logits.softmax(-1)
    best = logits.topk(top_k, dim=-1).indices  # (..., k)
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, True)
    if renormalise:
        return logits.masked_fill(~kept, -torch.inf).softmax(-1)
    return logits.softmax(-1) * kept


def check_top_k(top_k: int | None, n_experts: int, *, renormalise: bool) -> None:
    """Raise ValueError for a number of experts that there aren't, or nothing to renormalise."""
    if top_k is not None and not 1 <= top_k <= n_experts:
        raise ValueError(f"top_k = {top_k}: must be between 1 and n_experts = {n_experts}")
    if renormalise and top_k is None:
        raise ValueError("renormalise = True has no meaning without top_k")
