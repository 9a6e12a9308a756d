"""The hypercube gate: as many logits as a tree has levels, and an expert at every corner."""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.layers.gate import Gate, check_top_k, one_hot, softmax_top_k
from fastff.layers.linear import linear, uniform_fan_in


class HypercubeGate(Gate):
    """Softmax over the 2**depth sums of ± logits, an expert per pattern of signs (FastFF, 2024).

    z = W x with `depth` logits; expert k scores Σ_j s_kj z_j, where s_kj is +1 where the j-th of
    the `depth` binary digits of k, most significant first, is 1, and -1 elsewhere. The softmax
    factorises: p_k = Π_j sigmoid(2 s_kj z_j). A tree whose nodes share their logit within a level.
    The hard form is one-hot at the corner of the logits' signs, 1 iff z > 0.

    Args:
        in_features: size of an input.
        depth: number of logits, at least 1.
        top_k: number of experts kept; None keeps all.
        renormalise: softmax over the kept scores only. Needs `top_k`.
        generator: draws the initial weights, uniform in ±1/sqrt(in_features).

    """

    signs: Tensor

    def __init__(
        self,
        in_features: int,
        depth: int,
        *,
        top_k: int | None = None,
        renormalise: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        if depth < 1:
            raise ValueError(f"depth = {depth}: must be at least 1")
        super().__init__(in_features, 2**depth)
        check_top_k(top_k, 2**depth, renormalise=renormalise)
        self.depth = depth
        self.top_k = top_k
        self.renormalise = renormalise
        self.weight = uniform_fan_in(  # (d, i)
            depth, in_features, fan_in=in_features, generator=generator
        )
        self.register_buffer("signs", 2.0 * corners(depth) - 1, persistent=False)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (..., b, d) of inputs (..., b, i)."""
        return linear(x, self.weight)

    def soft(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e); rows sum to 1 without `top_k`."""
        scores = self.logits(x) @ self.signs.mT
        return softmax_top_k(scores, self.top_k, renormalise=self.renormalise)

    def hard(self, x: Tensor) -> Tensor:
        """Return weights (..., b, e), one-hot at the corner of the logits' signs."""
        places = 2 ** torch.arange(self.depth - 1, -1, -1, device=x.device)
        corner = ((self.logits(x) > 0) * places).sum(-1)
        return one_hot(corner, self.n_experts, like=x)


def corners(depth: int) -> Tensor:
    """Return the binary digits of 0..2**depth - 1, most significant first, (2**depth, depth)."""
    places = torch.arange(depth - 1, -1, -1)
    return (torch.arange(2**depth).unsqueeze(-1) >> places) & 1
