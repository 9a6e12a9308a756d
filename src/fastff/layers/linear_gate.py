"""The linear gate of a mixture of experts: dense, top-k renormalised, or top-k Switch."""

from __future__ import annotations

import torch
from torch import Tensor

from fastff.layers.gate import Gate, check_top_k, one_hot, softmax_top_k
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
        super().__init__(in_features, n_experts, n_active=top_k or 1)
        check_top_k(top_k, n_experts, renormalise=renormalise)
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
        return softmax_top_k(self.logits(x), self.top_k, renormalise=self.renormalise)

    def chosen(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the largest or `top_k` experts (..., b, k), and their weights, None for 1."""
        logits = self.logits(x)
        if self.top_k is None:
            return logits.argmax(-1, keepdim=True), None
        best = logits.topk(self.top_k, dim=-1)
        if self.renormalise:
            return best.indices, None if self.top_k == 1 else best.values.softmax(-1)
        return best.indices, logits.softmax(-1).gather(-1, best.indices)

    def hard(self, x: Tensor) -> Tensor:
        """Return the weights (..., b, e), non-zero for 1 (dense) or `top_k` experts."""
        if self.top_k is not None:
            return self.soft(x)
        return one_hot(self.logits(x).argmax(-1), self.n_experts, like=x)
