"""The linear gate of a mixture of experts: dense, top-k renormalised, or top-k Switch."""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.layers.gate import Gate, one_hot
from fastff.layers.linear import linear, uniform_fan_in


class LinearGate(Gate):
    """Softmax over one linear logit per expert.

    Dense:              p = softmax(W x)
    Top-k renormalised: p = softmax over the k largest logits only, 0 elsewhere (Shazeer et al.,
                        arXiv 1701.06538, without the noise). With k = 1 the weight is the
                        constant 1, so the gate gets no gradient.
    Top-k Switch:       the k largest entries of the full softmax, 0 elsewhere (Fedus et al.,
                        arXiv 2101.03961): the gate does learn.

    The hard form of the dense gate is one-hot at the largest logit. A top-k gate infers with its
    soft form, which is sparse already.

    Args:
        in_features: size of an input.
        n_experts: number of experts.
        top_k: number of experts kept, at most `n_experts`; None keeps all.
        renormalise: softmax over the kept logits only. Needs `top_k`.
        generator: draws the initial weights, uniform in ±1/sqrt(in_features).

    """

    def __init__(
        self,
        in_features: int,
        n_experts: int,
        *,
        top_k: int | None = None,
        renormalise: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, n_experts)
        if top_k is not None and not 1 <= top_k <= n_experts:
            raise ValueError(f"top_k = {top_k}: must be between 1 and n_experts = {n_experts}")
        if renormalise and top_k is None:
            raise ValueError("renormalise = True has no meaning without top_k")
        self.top_k = top_k
        self.renormalise = renormalise
        self.weight = uniform_fan_in(  # (e, i)
            n_experts, in_features, fan_in=in_features, generator=generator
        )

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits (..., b, e) of inputs (..., b, i)."""
        return linear(x, self.weight)

    def soft(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e); rows sum to 1, but for Switch to at most 1."""
        logits = self.logits(x)
        if self.top_k is None:
            return logits.softmax(-1)
        best = logits.topk(self.top_k, dim=-1).indices  # (..., b, k)
        kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best, True)
        if self.renormalise:
            return logits.masked_fill(~kept, -torch.inf).softmax(-1)
        return logits.softmax(-1) * kept

    def hard(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e), non-zero for 1 (dense) or `top_k` experts."""
        if self.top_k is not None:
            return self.soft(x)
        return one_hot(self.logits(x).argmax(-1), self.n_experts, like=x)
